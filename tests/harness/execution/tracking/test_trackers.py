"""Listeners of a run and of a sweep: several as one, and those that write to TensorBoard and MLflow."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from toys import toy_item, toy_row

from benchmarks.rows.row import Row, State
from harness.execution.observers import Listeners
from harness.execution.tracking.mlflow import MlflowTracker
from harness.execution.tracking.tensorboard import TensorBoardTracker
from harness.execution.tracking.tracker import RESULTS, CellLog, Tracker
from harness.suite_cell import SuiteCell
from harness.sweep.listener import SweepListener, TrackedSweep
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

ITEM, ROW = toy_item(seed=0), toy_row(seed=0)
HALF = Progress("search", 1, 2, {"accuracy": 0.75})


class Recording:
    """A listener that keeps what it is notified of, and may raise."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[object] = []
        self.error = error

    def _keep(self, *event: object) -> None:
        self.events.append(event)
        if self.error is not None:
            raise self.error

    def started(self, item: SuiteCell) -> None:
        self._keep(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        self._keep(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        self._keep(item, row)


def test_every_listener_is_notified_of_everything_though_one_raises() -> None:
    first, second = Recording(ValueError("first")), Recording()
    both = Listeners(first, second)
    for notify in (lambda: both.started(ITEM), lambda: both.progressed(ITEM, HALF), lambda: both.finished(ITEM, ROW)):
        with pytest.raises(ValueError, match="first"):
            notify()
    assert first.events == second.events == [(ITEM,), (ITEM, HALF), (ITEM, ROW)]


@pytest.mark.parametrize(
    ("make", "package"),
    [(lambda: TensorBoardTracker(Path("logs")), "tensorboard"), (lambda: MlflowTracker("sqlite://", "s"), "mlflow")],
)
def test_a_tracker_that_is_not_installed_names_the_package(
    make: Callable[[], Tracker], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=rf"pip install {package}$"):
        make()


class Parts(Recording, SweepListener):
    """A display of a sweep that keeps the names of its parts too."""

    def scoring_begins(self, *, n_cells: int) -> None:
        self.events.append(n_cells)


def test_a_sweep_goes_on_though_a_tracker_raises_and_says_so_at_the_end() -> None:
    display, broken, tracker = Parts(), Recording(ValueError("no connection")), Recording()
    listener = TrackedSweep(display, [broken, tracker])
    listener.started(ITEM)
    listener.progressed(ITEM, HALF)
    listener.finished(ITEM, ROW)
    listener.scoring_begins(n_cells=3)
    assert tracker.events == [(ITEM,), (ITEM, HALF), (ITEM, ROW)]
    assert display.events == [*tracker.events, 3]
    assert listener.tracking_error == "ValueError: no connection"


class Notes(Tracker):
    """A third-party tracker that records its calls."""

    def __init__(self) -> None:
        super().__init__("json", "Notes")
        self.lines: list[object] = []

    def open_log(self, item: SuiteCell) -> CellLog:
        self.lines.append(item.title)
        return self

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.lines.append((step, dict(metrics)))

    def close(self, state: State, reason: str | None) -> None:
        self.lines.append(state)


def test_a_cell_that_is_prepared_first_has_one_log_and_one_that_never_ends_is_interrupted() -> None:
    with Notes() as tracker:
        tracker.started(ITEM)
        tracker.progressed(ITEM, Progress("train", 1, 2))
        tracker.started(ITEM)
        tracker.progressed(ITEM, HALF)
        tracker.finished(ITEM, ROW)
        tracker.progressed(ITEM, HALF)
        results = {f"result/{name}": getattr(ROW, name) for name in RESULTS}
        assert tracker.lines == [ITEM.title, (1, {"search/accuracy": 0.75}), (0, results), State.OK]
        tracker.started(ITEM)
    assert tracker.lines[-1] is State.INTERRUPTED


class StandIn:
    """MLflow's client as its documentation describes it, for the calls that the tracker makes."""

    def __init__(self, tracking_uri: str) -> None:
        if tracking_uri == "nowhere":
            raise Refused("no such server")
        self.calls: list[tuple[object, ...]] = [("client", tracking_uri)]
        CLIENTS.append(self)

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        self.calls.append(("experiment", name))
        return "7"

    def create_run(self, experiment_id: str, *, run_name: str, tags: dict[str, str]) -> object:
        self.calls.append(("run", experiment_id, run_name, tags["splitbench.cell_id"]))
        return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    def log_batch(self, run_id: str, *, metrics: Sequence[Any] = (), params: Sequence[Any] = ()) -> None:
        self.calls += [("metric", key, value, step) for key, value, _, step in metrics]
        self.calls += [("param", *param) for param in params]

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.calls.append(("tag", key, value))

    def set_terminated(self, run_id: str, *, status: str) -> None:
        self.calls.append(("end", run_id, status))


CLIENTS: list[StandIn] = []


class Refused(Exception):
    """MLflow's error."""


def test_mlflow_has_a_run_per_cell_with_its_settings_metrics_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "mlflow": {"MlflowClient": StandIn, "__spec__": ModuleSpec("mlflow", None)},
        "mlflow.entities": dict.fromkeys(("Metric", "Param"), lambda *values: values),
        "mlflow.exceptions": {"MlflowException": Refused},
    }
    for name, names in contents.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ConfigurationError, match="cannot write to nowhere: no such server"):
        MlflowTracker("nowhere", "quick")
    with MlflowTracker("sqlite:///runs.db", "quick") as tracker:
        tracker.started(ITEM)
        tracker.progressed(ITEM, HALF)
        tracker.finished(ITEM, ROW.model_copy(update={"state": State.TIMEOUT, "reason": "too slow"}))
    calls = CLIENTS.pop().calls
    assert calls[:3] == [
        ("client", "sqlite:///runs.db"), ("experiment", "quick"), ("run", "7", ITEM.title, ITEM.cell.cell_id),
    ]  # fmt: skip
    assert ("param", "seed", "0") in calls
    assert ("param", "splitter.name", ITEM.cell.splitter.name) in calls
    assert ("metric", "search/accuracy", 0.75, 1) in calls
    assert calls[-2:] == [("tag", "splitbench.state", "timeout: too slow"), ("end", "r", "FAILED")]


def test_tensorboard_reads_metrics_by_stage_and_results(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed; the extra 'tensorboard' has it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TensorBoardTracker(tmp_path) as listener:
        listener.started(ITEM)
        listener.progressed(ITEM, HALF)
        listener.finished(ITEM, ROW)
    (folder,) = tmp_path.iterdir()
    assert ITEM.cell.cell_id[:10] in folder.name
    events = EventAccumulator(str(folder))
    events.Reload()
    (point,) = events.Scalars("search/accuracy")
    assert (point.step, point.value) == (1, 0.75)
    assert events.Scalars("result/seconds")[0].value == pytest.approx(ROW.seconds)
