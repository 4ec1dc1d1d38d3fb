"""Sweeps on the real Ray Tune and Optuna."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from toys import HERE
from trial_rows import rows_of

from benchmarks.rows.row import Row, StageRecord
from harness.config.expand import expand
from harness.config.plugins import Plugins
from harness.execution import Limits
from harness.execution.attempt import Surroundings
from harness.execution.ray.cluster import Node
from harness.faults import NODE_DIFFERS
from harness.runs.declaration import RunDeclaration
from harness.runs.record import read_records
from harness.runs.shard import Shard
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep.definition import file
from harness.sweep.definition.file import Sweep
from harness.sweep.listener import SweepListener
from harness.sweep.plan import plan_sweep
from harness.sweep.run import SweepReport, run_sweep
from harness.sweep.study.record import read_studies
from harness.sweep.study.trials import Configurations, TrialState
from harness.sweep.tune import tuner
from harness.sweep.tune.trainable import run_trial, trial_config
from splitters.errors import ConfigurationError

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
    return Counter(trial.state for trial in report.results.trials.all)


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
        item.cell.cell_id[:12]: 1
        for trial in chosen
        for item in report.results.configurations.test_items(trial.configuration)
    }
    assert recorder.slots == report.concurrency == 2
    for trial in report.results.front:
        on_select, on_test = trial.values["accuracy_loss"].mean, report.results.test_values(trial)["accuracy_loss"].mean
        assert on_test == pytest.approx(0.1 + on_select / 4), "rows keep both"
    results = report.results
    assert results.volume(results.front) >= results.volume(results.defaults) > 0
    assert not list((tmp_path / "cache").glob("tune-*")), "Tune's own state is not kept"
    again = run(sweep)
    assert (again.run_trials, again.concurrency) == (0, 0)
    assert runs_of(marks).total() == 8


def test_trials_that_fail_die_or_do_not_listen_end_and_the_others_go_on(
    run: Run, make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "trial_limits", lambda sweep, share: Limits(timeout=12.0, grace=1.0, backoff=0.1))
    space = {"mode": ["plain", "raise", "nan", "die", "deaf"]}
    sweep = make_bowls(trials=5, splitters=[bowl(space=space)], budget={"trial": "12s"}, concurrency=2)
    recorder = Recorder()
    report = run(sweep, recorder)
    by_mode = {trial.configuration.values["mode"]: trial for trial in report.results.trials.all}
    assert {mode: trial.failure for mode, trial in by_mode.items()} == {
        "plain": None,
        "raise": "SplitFailedError: no usable modules",
        "nan": "not_finite: not finite: select_accuracy_loss is nan",
        "die": None,
        "deaf": "timeout: the trial took longer than 12 s; it did not end and was killed",
    }
    assert by_mode["plain"].state is TrialState.COMPLETE
    assert by_mode["die"].state is TrialState.UNFINISHED
    assert len(by_mode["raise"].rows) == 1, "the other seed is not run after a failure"
    assert Counter(row.failure_kind for row in recorder.rows)["worker_died"] == 3, "tried again twice"
    assert not report.interrupted


def test_base_models_are_trained_once_each_before_the_trials_that_need_them(
    run: Run, make_bowls: MakeSweep, tmp_path: Path
) -> None:
    def trained() -> Counter[str]:
        return Counter(path.name.split("-")[1] for path in (tmp_path / "cache").glob("trained-*"))

    report = run(make_bowls(scenario="trained-bowl", seeds=2, trials=2))
    assert states(report) == {TrialState.COMPLETE: 2}
    assert report.unscored == 0
    assert trained() == {"0": 1, "1": 1}
    assert states(run(make_bowls(scenario="trained-bowl", seeds=3, trials=2))) == {TrialState.COMPLETE: 2}
    assert trained() == {"0": 1, "1": 1, "2": 1}, "those that finished cells have used are there"


def test_cells_that_another_run_has_declared_are_left_to_it(run: Run, make_bowls: MakeSweep, tmp_path: Path) -> None:
    sweep, store = make_bowls(trials=3, sampler="random", seeds=1), ResultStore(tmp_path / "results")
    default = Configurations(sweep).default(sweep.spaces[0]).items[0].cell.cell_id
    with RunDeclaration(store.storage, "other", cell_ids=[default], n_cells=1) as other:
        report = run(sweep)
    assert {cell_id: run.run_id for cell_id, run in report.left_to_others.items()} == {default: other.record.run_id}
    assert states(report) == {TrialState.COMPLETE: 2}
    assert not report.is_exhausted
    assert states(run(sweep)) == {TrialState.COMPLETE: 3}


def test_a_sweep_records_how_far_it_is_and_how_it_ended(run: Run, make_bowls: MakeSweep, tmp_path: Path) -> None:
    storage, seen = ResultStore(tmp_path / "results").storage, []

    class Looking(Recorder):
        def finished(self, item: SuiteCell, row: Row) -> None:
            seen.extend(record for record, _ in read_records(storage))

    report = run(make_bowls(trials=2), Looking())
    assert (seen[0].suite, seen[0].cells, seen[0].to_do, seen[0].ended) == ("bowls", 4, 4, None)
    (record,) = (record for record, _ in read_records(storage) if record.study == report.results.study)
    assert (record.ended, record.finished) == ("done", 4)


def test_one_driver_at_a_time_runs_a_study(run: Run, make_bowls: MakeSweep, marks: Path, tmp_path: Path) -> None:
    sweep, store = make_bowls(trials=1, splitters=[bowl(marks)]), ResultStore(tmp_path / "results")
    study = plan_sweep(sweep, store).continuation.study
    with RunDeclaration(store.storage, "bowls", cell_ids=(), n_cells=2, study=study):
        with pytest.raises(ConfigurationError, match=f"study {study} has a driver already: process .* on .*, since "):
            run(sweep)
        assert read_studies(store) == [], "whoever is refused changes nothing"
    assert not runs_of(marks)
    assert states(run(sweep)) == {TrialState.COMPLETE: 1}


def test_trials_that_another_driver_ran_after_the_plan_was_made_are_not_run_again(
    run: Run, make_bowls: MakeSweep, marks: Path, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"sampler": "random", "splitters": [bowl(marks)]}
    store = ResultStore(tmp_path / "results")
    surroundings = Surroundings("bowls", tmp_path / "cache", plugins=Plugins(("bowl_plugin",), str(HERE)))
    smaller, larger = (plan_sweep(make_bowls(trials=trials, **keys), store) for trials in (2, 3))
    assert states(run(smaller.sweep)) == {TrialState.COMPLETE: 2}
    reports = [run_sweep(plan, store, surroundings, listener=Recorder()) for plan in (smaller, larger)]
    assert [(report.run_trials, states(report)[TrialState.COMPLETE]) for report in reports] == [(0, 2), (1, 3)]
    assert runs_of(marks).total() == len(runs_of(marks)) == 6


def test_a_shard_scores_its_share_of_the_front_once_all_trials_are_finished(
    make_bowls: MakeSweep, marks: Path, tmp_path: Path
) -> None:
    sweep, store = make_bowls(trials=2, splitters=[bowl(marks)]), ResultStore(tmp_path / "results")
    surroundings = Surroundings("bowls", tmp_path / "c", plugins=Plugins(("bowl_plugin",), str(HERE)))

    def score(shard: str) -> SweepReport:
        plan = plan_sweep(sweep, store)
        return run_sweep(plan, store, surroundings, listener=Recorder(), shard=Shard.parse(shard))

    with pytest.raises(ConfigurationError, match=r"2 trials remain; run the sweep without --shard first\."):
        score("1/2")
    for x in (0.2, 0.5):
        for row in rows_of(sweep, x=x, y=0.2):
            store.write(row)
    reports = [score("1/2"), score("2/2")]
    assert [report.unscored for report in reports] == [0, 0]
    assert runs_of(marks).total() == 0
    configurations = reports[1].plan.configurations
    assert runs_of(marks, "bowl") == {
        item.cell.cell_id[:12]: 1
        for trial in reports[1].results.chosen
        for item in configurations.test_items(trial.configuration)
    }


def test_a_sweep_reads_its_rows_once_before_trials_run_and_expands_its_suite_once(
    make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expanded: list[object] = []
    monkeypatch.setattr(file, "expand", lambda suite: (expanded.append(suite), expand(suite))[1])
    sweep, store = make_bowls(trials=1), ResultStore(tmp_path / "results")
    reads: list[str] = []
    read = store.read
    monkeypatch.setattr(store, "read", lambda **keys: (reads.append("read"), read(**keys))[1])

    class Looking(Recorder):
        def scoring_begins(self, *, n_cells: int) -> None:
            reads.append("scoring")

    plan, plugins = plan_sweep(sweep, store), Plugins(("bowl_plugin",), str(HERE))
    report = run_sweep(plan, store, Surroundings("bowls", tmp_path / "c", plugins=plugins), listener=Looking())
    assert states(report) == {TrialState.COMPLETE: 1}
    assert reads == ["read", "scoring", "read"]
    assert len(expanded) == 1


def test_a_sweep_whose_budget_is_spent_ends_and_the_next_start_continues(run: Run, make_bowls: MakeSweep) -> None:
    slow: dict[str, Any] = {"trials": 4, "seeds": 1, "concurrency": 1, "splitters": [bowl(pause=0.3)]}
    report = run(make_bowls(**slow, budget={"sweep": {"device": 1.2}}))
    assert report.spent
    assert 0 < len(report.results.trials.finished) < 4
    again = run(make_bowls(**slow))
    assert (states(again), again.spent) == ({TrialState.COMPLETE: 4}, False)


def test_folders_of_tune_that_killed_drivers_left_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    for name in ("tune-left", "tune-used"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
    with FileLock(tmp_path / "tune-used.lock"), tuner._scratch_folder(tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"tune-used", folder.name}


def test_a_machine_with_other_versions_computes_nothing(run: Run, make_bowls: MakeSweep, marks: Path) -> None:
    recorder = Recorder()
    report = run(make_bowls(trials=1, splitters=[bowl(marks)]), recorder, expected={"torch": "0.1"})
    assert states(report) == {TrialState.UNFINISHED: 1}
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


def test_trials_ask_for_the_memory_that_such_cells_took(
    make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = make_bowls(), ResultStore(tmp_path / "results")
    assert tuner.trial_memory(plan_sweep(sweep, store).expected(), store.read().table, 1.0) == 0
    for peak, row in zip((2**20, 2**24), rows_of(sweep, x=0.1), strict=True):
        stages = [StageRecord(name="split", seconds=1.0, peak_memory_bytes=peak)]
        store.write(row.model_copy(update={"stages": stages}))
    expected = plan_sweep(sweep, store).expected()
    assert tuner.trial_memory(expected, store.read().table, 1.0) == 2**24 * 5 // 4
    head, worker = Node(cpus=0, gpus=0, memory=2**40), Node(cpus=8, gpus=0, memory=2**23)
    monkeypatch.setattr(tuner, "nodes", lambda: [head, worker])
    assert tuner.trial_memory(expected, store.read().table, 1.0) == 2**23, "no more than who could run it has"


def test_ray_is_asked_for_the_memory_of_trials(
    run: Run, make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = make_bowls(trials=2), ResultStore(tmp_path / "results")
    for row in rows_of(sweep, x=0.1, y=0.1):
        stages = [StageRecord(name="split", seconds=1.0, peak_memory_bytes=2**24)]
        store.write(row.model_copy(update={"stages": stages}))
    asked: list[object] = []
    with_resources = tuner.tune.with_resources
    monkeypatch.setattr(
        tuner.tune, "with_resources", lambda worker, wanted: (asked.append(wanted), with_resources(worker, wanted))[1]
    )
    assert states(run(sweep)) == {TrialState.COMPLETE: 2}
    assert asked[0] == {"CPU": 1, "GPU": 0.0, "memory": 2**24 * 5 // 4}


def test_machines_that_would_be_started_count_as_free(make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_bowls()
    cell = Configurations(sweep).at(sweep.spaces[0], {"x": 0.5, "y": 0.2}).items[0].cell
    head, kind = Node(cpus=0, gpus=0), Node(cpus=4, gpus=1)
    monkeypatch.setattr(tuner, "nodes_by_state", lambda: ([head], [kind] * 8))
    monkeypatch.setattr(tuner.ray, "available_resources", lambda: {})
    assert tuner.free_slots(cell, 1.0) == 32
    assert tuner.free_slots(cell.model_copy(update={"device": "cuda"}), 1.0) == 8


def test_the_number_of_trials_at_once_comes_from_the_free_slots(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    cell = Configurations(sweep).at(sweep.spaces[0], {"x": 0.5, "y": 0.2}).items[0].cell
    # Ray takes a moment to take back what workers of earlier tests had.
    deadline = time.monotonic() + 60
    while tuner.free_slots(cell, 1.0) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert tuner.free_slots(cell, 1.0) == 3, "three CPUs, one thread each"
    assert tuner.free_slots(cell.model_copy(update={"threads": 2}), 1.0) == 1
    assert tuner.free_slots(cell.model_copy(update={"device": "auto"}), 1.0) == 2, "two GPUs"
    assert tuner.free_slots(cell.model_copy(update={"device": "auto"}), 0.5) == 3


def test_workers_without_a_gpu_see_none(run: Run, make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    surroundings = Surroundings("bowls", Path("nowhere"))
    run_trial(trial_config("", []), surroundings=surroundings, limits=Limits(), send=lambda _: None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
