"""Sweeps on the real Ray Tune and Optuna: each trap that they hold, and that the sweep does not fall into it."""

from __future__ import annotations

import inspect
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE
from trial_rows import rows_of

from benchmarks.records import Row, StageRecord
from harness.attempt import Surroundings
from harness.dispatch import Limits, SilentListener
from harness.dispatch.cluster import Node
from harness.faults import NODE_DIFFERS
from harness.plugins import Plugins
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep import scoring, tuning
from harness.sweep.candidates import Cells
from harness.sweep.claiming import NoRivals
from harness.sweep.file import Sweep
from harness.sweep.reports import Report
from harness.sweep.run import SweepListener, SweepReport, plan_sweep, run_sweep
from harness.sweep.scoring import Scoring
from harness.sweep.trainable import TrialLimits, run_trial
from harness.sweep.trials import TrialState

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

MakeSweep = Callable[..., Sweep]
Run = Callable[..., SweepReport]


@dataclass
class Recorder(SweepListener):
    """Notes what happens."""

    slots: int = 0
    rows: list[Row] = field(default_factory=list)

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        self.slots = slots

    def finished(self, item: SuiteCell, row: Row) -> None:
        self.rows.append(row)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(sweep: Sweep, listener: SweepListener | None = None, **keys: Any) -> SweepReport:
        store = ResultStore(tmp_path / "results")
        plugins = Plugins(("bowl_plugin",), str(HERE))
        surroundings = Surroundings("bowls", tmp_path / "cache", plugins=plugins, **keys)
        return run_sweep(plan_sweep(sweep, store), store, surroundings, listener=listener or Recorder())

    return start


def runs_of(folder: Path, scenario: str = "bowl-selection") -> Counter[str]:
    """Returns how often each cell was run, by the marks that runs left."""
    return Counter(path.name.split("--")[1] for path in folder.glob(f"{scenario}--*"))


def states(report: SweepReport) -> Counter[TrialState]:
    return Counter(trial.state for trial in report.results.book.trials)


def bowl(marks: Path | None = None, *, name: str = "bowl", space: Any = None, **settings: Any) -> dict[str, Any]:
    folder = {"folder": str(marks)} if marks is not None else {}
    usual = {"x": {"float": [0, 1]}, "y": {"float": [0, 0.5]}}
    return {"name": name, "settings": {**folder, **settings}, "space": space or usual}


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def test_a_sweep_runs_its_trials_once_scores_the_chosen_once_and_a_second_call_does_nothing(
    run: Run, make_bowls: MakeSweep, marks: Path, tmp_path: Path
) -> None:
    sweep = make_bowls(trials=4, splitters=[bowl(marks), bowl(marks, name="dish")], concurrency=2)
    recorder = Recorder()
    report = run(sweep, recorder)
    assert states(report) == {TrialState.COMPLETE: 4}
    assert runs_of(marks).total() == len(runs_of(marks)) == 8, "two seeds of four trials, none of them twice"
    chosen = report.results.chosen
    assert runs_of(marks, "bowl") == {
        item.cell.cell_id[:12]: 1 for trial in chosen for item in report.results.cells.scored(trial.candidate)
    }
    assert recorder.slots == report.concurrency == 2
    for trial in report.results.front:
        on_select, on_test = trial.values["accuracy_loss"].mean, report.results.test_values(trial)["accuracy_loss"].mean
        assert on_test == pytest.approx(0.1 + on_select / 4), "rows keep both"
    assert report.results.hypervolume >= report.results.volume(report.results.defaults) > 0
    assert not list((tmp_path / "cache").glob("tune-*")), "Tune's own state is not kept"
    again = run(sweep)
    assert (again.run_trials, again.concurrency) == (0, 0)
    assert runs_of(marks).total() == 8


def test_trials_that_fail_die_or_do_not_listen_end_and_the_others_go_on(
    run: Run, make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_GRACE_SECONDS", 1.0)
    space = {"mode": ["plain", "raise", "nan", "die", "deaf"]}
    sweep = make_bowls(trials=5, splitters=[bowl(space=space)], budget={"trial": "3s"}, concurrency=2)
    recorder = Recorder()
    report = run(sweep, recorder)
    by_mode = {trial.candidate.values["mode"]: trial for trial in report.results.book.trials}
    assert {mode: trial.failure for mode, trial in by_mode.items()} == {
        "plain": None,
        "raise": "SplitFailedError: no usable modules",
        "nan": "not_finite: not finite: select_accuracy_loss is nan",
        "die": None,
        "deaf": "timeout: the trial took longer than 3 s; it did not end and was killed",
    }
    assert by_mode["plain"].state is TrialState.COMPLETE
    assert by_mode["die"].state is TrialState.UNFINISHED
    assert len(by_mode["raise"].rows) == 1, "the other seed is not run after a failure"
    assert Counter(row.failure_kind for row in recorder.rows)["worker_died"] == 3, "tried again twice"
    assert not report.interrupted


def test_a_machine_with_other_versions_computes_nothing(run: Run, make_bowls: MakeSweep, marks: Path) -> None:
    recorder = Recorder()
    report = run(make_bowls(trials=2, splitters=[bowl(marks)]), recorder, expected={"torch": "0.1"})
    assert states(report) == {TrialState.UNFINISHED: 2}
    assert {row.failure_kind for row in recorder.rows} == {NODE_DIFFERS}
    assert "and not 0.1" in str(recorder.rows[0].reason)
    assert not runs_of(marks)


def test_a_race_of_one_metric_under_tpe_stops_trials_and_leaves_none_running(
    run: Run, make_bowls: MakeSweep, marks: Path
) -> None:
    sweep = make_bowls(
        trials=8, seeds=1, sampler="tpe", objectives={"accuracy_loss": "min"}, concurrency=1,
        early_stopping={"grace": 1, "reduction": 2}, splitters=[bowl(marks, steps=4)],
    )  # fmt: skip
    found = states(run(sweep))
    assert found.total() == 8
    assert set(found) == {TrialState.COMPLETE, TrialState.STOPPED}
    assert runs_of(marks).total() == len(runs_of(marks)) == 8


def test_what_another_driver_ran_since_the_plan_was_made_is_not_run_again(
    make_bowls: MakeSweep, marks: Path, tmp_path: Path
) -> None:
    sweep, store = make_bowls(trials=1, splitters=[bowl(marks)]), ResultStore(tmp_path / "results")
    plan = plan_sweep(sweep, store)
    for row in rows_of(sweep, x=0.5, y=0.2):
        store.write(row)
    plugins = Plugins(("bowl_plugin",), str(HERE))
    report = run_sweep(plan, store, Surroundings("bowls", tmp_path / "c", plugins=plugins), listener=Recorder())
    assert states(report) == {TrialState.COMPLETE: 1}
    assert not runs_of(marks)
    assert runs_of(marks, "bowl").total() == 2, "only the scores on test were missing"


def test_scores_on_test_that_a_machine_failed_are_tried_again_and_those_of_others_are_left_to_them(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CLAIM_SECONDS", 0.0)
    sweep = make_bowls(trials=2)
    groups = [list(Cells(sweep).candidate(sweep.spaces[0], {"x": x, "y": 0.2}).items) for x in (0.1, 0.2)]
    held, stored = {item.cell.cell_id for item in groups[0]}, []

    class Rival(NoRivals):
        def take(self, items: Sequence[SuiteCell]) -> Sequence[Row] | None:
            return None if held.intersection(item.cell.cell_id for item in items) else tuple(stored)

    rows: list[Row] = []
    following = Scoring(
        groups, keep=rows.append, listener=SilentListener(), is_ending=lambda: False, suite="bowls",
        limits=Limits(retries=2, backoff=0.0), claims=Rival(),
    )  # fmt: skip
    for attempt in range(3):
        config = following.begin(str(attempt))
        assert config is not None
        assert config["cells"] == [item.cell.model_dump_json() for item in groups[1]]
        if attempt != 1:  # The second worker dies before its first word.
            following.hear(str(attempt), Report("begin", groups[1][0].cell.cell_id))
        following.end(str(attempt), has_died=True)
    assert [row.failure_kind for row in rows] == ["worker_died"] * 3
    assert (following.begin("3"), following.is_waiting) == (None, True), "the other configuration is another driver's"
    held.clear()
    stored += rows_of(sweep, x=0.1, y=0.2)[:1]
    config = following.begin("4")
    assert config is not None
    assert config["cells"] == [groups[0][1].cell.model_dump_json()]
    assert not following.is_waiting


def test_trials_ask_for_the_memory_that_such_cells_took(
    make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = make_bowls(), ResultStore(tmp_path / "results")
    assert tuning.memory_of_trials(plan_sweep(sweep, store).expected(), store.read().table, 1.0) == 0
    for peak, row in zip((2**20, 2**24), rows_of(sweep, x=0.1), strict=True):
        stages = [StageRecord(name="split", seconds=1.0, peak_memory_bytes=peak)]
        store.write(row.model_copy(update={"stages": stages}))
    expected = plan_sweep(sweep, store).expected()
    assert tuning.memory_of_trials(expected, store.read().table, 1.0) == 2**24 * 5 // 4
    head, worker = Node(cpus=0, gpus=0, memory=2**40), Node(cpus=8, gpus=0, memory=2**23)
    monkeypatch.setattr(tuning, "nodes", lambda: [head, worker])
    assert tuning.memory_of_trials(expected, store.read().table, 1.0) == 2**23, "no more than who could run it has"


def test_ray_is_asked_for_the_memory_of_trials(
    run: Run, make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = make_bowls(trials=2), ResultStore(tmp_path / "results")
    for row in rows_of(sweep, x=0.1, y=0.1):
        stages = [StageRecord(name="split", seconds=1.0, peak_memory_bytes=2**24)]
        store.write(row.model_copy(update={"stages": stages}))
    asked: list[object] = []
    with_resources = tuning.tune.with_resources
    monkeypatch.setattr(
        tuning.tune, "with_resources", lambda worker, wanted: (asked.append(wanted), with_resources(worker, wanted))[1]
    )
    assert states(run(sweep)) == {TrialState.COMPLETE: 2}
    assert asked[0] == {"CPU": 1, "GPU": 0.0, "memory": 2**24 * 5 // 4}


def test_machines_that_would_be_started_count_as_free(make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_bowls()
    cell = Cells(sweep).candidate(sweep.spaces[0], {"x": 0.5, "y": 0.2}).items[0].cell
    head, kind = Node(cpus=0, gpus=0), Node(cpus=4, gpus=1)
    monkeypatch.setattr(tuning, "nodes_by_state", lambda: ([head], [kind] * 8))
    monkeypatch.setattr(tuning.ray, "available_resources", lambda: {})
    assert tuning.free_slots(cell, 1.0) == 32
    assert tuning.free_slots(cell.model_copy(update={"device": "cuda"}), 1.0) == 8


def test_the_number_of_trials_at_once_comes_from_the_free_slots(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    cell = Cells(sweep).candidate(sweep.spaces[0], {"x": 0.5, "y": 0.2}).items[0].cell
    # Ray takes a moment to take back what workers of earlier tests had.
    deadline = time.monotonic() + 60
    while tuning.free_slots(cell, 1.0) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert tuning.free_slots(cell, 1.0) == 3, "three CPUs, one thread each"
    assert tuning.free_slots(cell.model_copy(update={"threads": 2}), 1.0) == 1
    assert tuning.free_slots(cell.model_copy(update={"device": "auto"}), 1.0) == 2, "two GPUs"
    assert tuning.free_slots(cell.model_copy(update={"device": "auto"}), 0.5) == 3


# The traps themselves: what the stock parts do, so that one sees when they no longer do it.


def test_the_stock_searcher_leaves_a_trial_without_a_number_running_for_ever() -> None:
    from optuna.trial import TrialState as OptunaState
    from ray.tune.search.optuna import OptunaSearch

    search = OptunaSearch(lambda trial: {"x": trial.suggest_float("x", 0, 1)}, metric=["a", "b"], mode=["min", "min"])
    for number, result in enumerate(({"a": math.nan, "b": 1.0}, {"a": 1.0})):
        search.suggest(str(number))
        search.on_trial_complete(str(number), result)
    assert {trial.state for trial in search._ot_study.get_trials()} == {OptunaState.RUNNING}


def test_the_stock_searcher_tells_optuna_nothing_of_constraints() -> None:
    from ray.tune.search.optuna import OptunaSearch

    assert not [name for name in inspect.signature(OptunaSearch).parameters if "constraint" in name]
    search = OptunaSearch(lambda trial: {"x": trial.suggest_float("x", 0, 1)}, metric="a", mode="min")
    search.suggest("1")
    search.on_trial_complete("1", {"a": 0.0, "accuracy_loss": 1.0, "constraints": {"accuracy_loss <= 0.02": 0.98}})
    (trial,) = search._ot_study.get_trials()
    assert trial.value == 0.0
    assert not getattr(trial, "constraints", None)
    assert "constraints" not in {**trial.system_attrs, **trial.user_attrs}


def test_the_stock_scheduler_takes_several_metrics_and_cannot_use_them() -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(metric=["a", "b"], mode="min")
    trial = type("Trial", (), {"trial_id": "1"})()
    scheduler.on_trial_add(None, trial)
    with pytest.raises(TypeError):
        scheduler.on_trial_result(None, trial, {"training_iteration": 1, "a": 1.0, "b": 2.0})


def test_workers_without_a_gpu_see_none(run: Run, make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "2")
    surroundings = Surroundings("bowls", Path("nowhere"))
    run_trial({"cells": [], "label": ""}, surroundings=surroundings, limits=TrialLimits(), report=lambda _: None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_ray_has_no_local_mode_to_fall_back_to(ray_cluster: None) -> None:
    import ray

    with pytest.raises((RuntimeError, TypeError, ValueError, DeprecationWarning), match="local_mode"):
        ray.init(local_mode=True)


def test_the_stock_repeater_cannot_average_several_objectives() -> None:
    from ray.tune.search import Repeater
    from ray.tune.search.optuna import OptunaSearch

    search = OptunaSearch(lambda trial: {"x": trial.suggest_float("x", 0, 1)}, metric=["a", "b"], mode=["min", "min"])
    repeater = Repeater(search, repeat=2, set_index=False)
    repeater.suggest("1")
    with pytest.raises(TypeError):
        repeater.on_trial_complete("1", {"a": 1.0, "b": 2.0})
