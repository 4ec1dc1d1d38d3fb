from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
from click.testing import Result
from inline_runs import FaultyListener, Recorder
from processes import splitbench, states, wait_for
from toys import HERE, toy_item

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.rows.row import Row, State
from harness.config.plugins import Plugins
from harness.execution import Limits, SilentListener, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.inline import InlineBackend
from harness.execution.ray.backend import RayBackend
from harness.execution.ray.worker import CellWorkers, Worker
from harness.execution.run_plan import RunReport, run_plan
from harness.planning.plan import make_plan
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

TIMEOUT = 6.0
GRACE = 4.0
RETRIES = 1

GRADSPLITTER = {
    "warmup": "4 steps", "rounds": 2, "mask_phase": "12 steps", "head_phase": "4 steps", "mask_learning_rate": 0.2,
    "alpha": 0.5, "batch_size": 16,
}  # fmt: skip

Call = Callable[..., Result]
WriteSuite = Callable[..., Path]
Outcome = tuple[RunReport, dict[str, list[Row]]]
"""The report of a run, and the rows of each behaviour."""


def run_behaviours(names: tuple[str, ...], folder: Path, limits: Limits) -> Outcome:
    surroundings = Surroundings("toys", folder / "cache", plugins=Plugins(("toy_plugin",), str(HERE)))
    store = ResultStore(folder / "results")
    cells = {name: item_of(name, folder) for name in names}
    report = run_plan(make_plan(list(cells.values()), []), store, RayBackend(surroundings, limits))
    contents = store.read()
    return report, {name: contents.attempts(item.cell.cell_id) for name, item in cells.items()}


def item_of(behaviour: str, folder: Path) -> SuiteCell:
    return toy_item(behaviour=behaviour, folder=str(folder) if behaviour == "die_once" else "", device="cpu")


@pytest.fixture(scope="module")
def outcome(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Cells that end by themselves, one way or the other."""
    names = ("die_once", "die", "ok", "raise")
    return run_behaviours(names, tmp_path_factory.mktemp("ray"), Limits(retries=RETRIES, backoff=0.1))


@pytest.fixture(scope="module")
def late(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Cells that outlive their deadline."""
    limits = Limits(timeout=TIMEOUT, grace=GRACE)
    return run_behaviours(("polite", "deaf"), tmp_path_factory.mktemp("late"), limits)


def test_a_worker_that_is_killed_is_replaced_and_leaves_one_good_row(outcome: Outcome) -> None:
    rows = outcome[1]["die_once"]
    assert [(row.state, row.failure_kind) for row in rows] == [(State.FAILED, "worker_died"), (State.OK, None)]


def test_a_cell_that_always_kills_its_worker_is_given_up(outcome: Outcome) -> None:
    assert [row.failure_kind for row in outcome[1]["die"]] == ["worker_died"] * (RETRIES + 1)


def test_a_methods_own_error_is_not_tried_again(outcome: Outcome) -> None:
    assert {name for name, rows in outcome[1].items() if len(rows) > 1} == {"die_once", "die"}


def test_the_report_counts_the_last_attempt_of_each_cell(outcome: Outcome) -> None:
    report, rows = outcome
    assert len(report.rows) == len(rows)
    assert Counter(row.state for row in report.rows) == {State.OK: 2, State.FAILED: 2}
    assert not report.all_well


def test_a_cell_that_listens_stops_at_its_deadline(late: Outcome) -> None:
    (row,) = late[1]["polite"]
    assert (row.state, row.reason) == (State.TIMEOUT, "it took longer than 6 s")


def test_a_cell_that_does_not_listen_is_killed_after_its_deadline(late: Outcome) -> None:
    (row,) = late[1]["deaf"]
    assert row.state is State.TIMEOUT
    assert row.reason == "it took longer than 6 s; it did not end within 4 s and was killed"
    assert row.seconds > TIMEOUT


def test_a_worker_that_dies_after_its_deadline_leaves_a_timeout_that_is_not_tried_again(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    store, backend = ResultStore(tmp_path / "results"), RayBackend(surroundings, Limits(timeout=0.5, retries=1))
    item = toy_item(behaviour="die_when_asked", device="cuda")
    run_plan(make_plan([item], []), store, backend)
    (row,) = store.read().attempts(item.cell.cell_id)
    assert (row.state, row.failure_kind, row.gpu_share) == (State.TIMEOUT, None, 1.0)
    assert row.reason == "it took longer than 0.5 s; its worker died before it had stopped"


def test_both_backends_give_the_same_rows(outcome: Outcome, surroundings: Surroundings, tmp_path: Path) -> None:
    names = ("ok", "raise")
    cells = {name: item_of(name, tmp_path) for name in names}
    store = ResultStore(tmp_path / "results")
    run_plan(make_plan(list(cells.values()), []), store, InlineBackend(surroundings, Limits()))
    contents = store.read()
    # A traceback names lines of the caller, and the code may be committed between two workers.
    differing = {"attempt_id", "started_at", "seconds", "traceback", "git_commit"}
    for name in names:
        (inline,), (on_ray,) = contents.attempts(cells[name].cell.cell_id), outcome[1][name]
        assert on_ray.model_dump(exclude=differing) == inline.model_dump(exclude=differing)
        assert (on_ray.traceback is None) == (inline.traceback is None)


def test_errors_of_a_listener_end_neither_cells_nor_the_run_on_ray(surroundings: Surroundings, tmp_path: Path) -> None:
    backend = RayBackend(surroundings, Limits())
    plan = make_plan([toy_item(device="cpu")], [])
    report = run_plan(plan, ResultStore(tmp_path / "results"), backend, listener=FaultyListener())
    assert [row.state for row in report.rows] == [State.OK]
    assert report.listener_error == "ValueError: [/data/w.pt]"


def test_both_backends_give_the_same_row_of_a_real_cell(ray_cluster: None, tmp_path: Path) -> None:
    cell = Cell(
        splitter=SplitterSpec(name="gradsplitter", settings=GRADSPLITTER),
        model=ModelSpec(name="rescnn", settings={"width": 0.03}),
        dataset=DatasetSpec(name="digits", train_images=200, select_images=100),
        training=TrainingSpec(recipe="one_cycle", epochs=2, learning_rate=0.05, batch_size=32),
        device="cpu",
    )
    rows = []
    for backend, folder in ((InlineBackend, tmp_path / "inline"), (RayBackend, tmp_path / "ray")):
        # Each has a cache of its own, so that nothing is found that the other one made.
        surroundings = Surroundings("digits", folder / "cache")
        plan = make_plan([SuiteCell(cell)], [])
        rows += run_plan(plan, ResultStore(folder / "results"), backend(surroundings, Limits())).rows
    inline, on_ray = (_timeless(row) for row in rows)
    assert inline["state"] is State.OK
    assert inline["kernel_retention"] < 1
    assert on_ray == inline


def _timeless(row: Row) -> dict[str, object]:
    """Returns all of a row but what differs from attempt to attempt: times, memory, names of the attempt."""
    differing = {"attempt_id", "started_at", "seconds", "split_seconds", "stages", "git_commit"}
    figures = [figure for figure in row.figures if not figure.name.endswith("seconds")]
    return {**row.model_dump(exclude=differing), "figures": figures}


def test_a_place_is_taken_again_before_a_row_is_stored_but_a_cell_only_after(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    events: list[tuple[str, str]] = []

    def name(item: SuiteCell) -> str:
        return str(item.cell.splitter.settings["behaviour"])

    def start(item: SuiteCell, gpu_share: float, options: Mapping[str, Any]) -> Worker:
        events.append(("begins", name(item)))
        return CellWorkers(surroundings)(item, gpu_share, options)

    queue = [item_of("die_once", tmp_path), item_of("ok", tmp_path)]
    with RayBackend(surroundings, Limits(retries=1, backoff=0.0), workers=1, start_worker=start) as backend:
        for item, _ in backend.run(queue, stop=StopSignal(), listener=SilentListener()):
            events.append(("is stored", name(item)))
    assert events == [
        ("begins", "die_once"), ("begins", "ok"), ("is stored", "die_once"),
        ("begins", "die_once"), ("is stored", "ok"), ("is stored", "die_once"),
    ]  # fmt: skip


def test_a_killed_driver_loses_no_finished_row_and_the_next_run_completes(
    ray_cluster: None, write_suite: WriteSuite, call: Call, tmp_path: Path, environment: dict[str, str]
) -> None:
    slow = {"name": "other", "settings": {"behaviour": "polite_once", "folder": str(tmp_path)}}
    suite, results = write_suite(splitters=["toy", slow], device="cpu"), tmp_path / "results"
    options = ["run", suite, "--results", results, "--workers", "1"]
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen(
        splitbench(*options, "--address", address), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for(tmp_path / "begun")
    process.kill()
    process.communicate(timeout=60)
    assert states(results) == ["ok"]
    again = call(*options)
    assert again.exit_code == 0, again.stderr
    assert "1 cell run, 1 was done before." in again.stdout
    assert states(results) == ["ok", "ok"]


def test_cells_at_the_same_time_own_different_gpus_and_others_see_none(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path / "results")
    cells = [
        toy_item(behaviour="gpu", seed=0),
        toy_item(behaviour="gpu", seed=1),
        toy_item(behaviour="gpu", seed=2, device="cpu"),
    ]
    report = run_plan(make_plan(cells, []), store, RayBackend(surroundings, Limits()))
    rows = {row.seed: row for row in report.rows}
    assert {rows[0].warnings[0], rows[1].warnings[0]} == {"gpu 0", "gpu 1"}
    assert rows[2].warnings == ["gpu "]
    assert [rows[seed].gpu_share for seed in range(3)] == [1.0, 1.0, 0.0]


def test_a_stopped_run_ends_running_cells_and_begins_no_others(surroundings: Surroundings, tmp_path: Path) -> None:
    cells = [toy_item(behaviour="polite", seed=seed, device="cpu") for seed in range(4)]
    stop = StopSignal()
    backend = RayBackend(surroundings, Limits(grace=10), workers=1)
    report = run_plan(
        make_plan(cells, []), ResultStore(tmp_path / "r"), backend, stop=stop, listener=Recorder(stop=stop, after=2)
    )
    assert report.interrupted
    assert [row.state for row in report.rows] == [State.INTERRUPTED]
    assert not report.all_well


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"threads": 64}, "asks for 64 CPU threads and 1 GPU, but no machine of the cluster has that"),
        ({"threads": 64, "device": "cpu"}, "asks for 64 CPU threads and 0 GPU"),
    ],
)
def test_a_cell_that_no_machine_has_room_for_is_refused_at_once(
    surroundings: Surroundings, tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    store = ResultStore(tmp_path / "results")
    with pytest.raises(ConfigurationError, match=message):
        run_plan(make_plan([toy_item(), toy_item(seed=1, **keys)], []), store, RayBackend(surroundings, Limits()))
    assert store.read().latest() == []
