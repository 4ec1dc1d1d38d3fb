"""Searcher, scheduler and callback together, on the trials' own code in this process: Tune's loop without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from benchmarks.rows.row import Row, State
from harness.execution import Limits, SilentListener
from harness.execution.attempt import Surroundings
from harness.runs.declaration import RunDeclaration
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.study.study import Study
from harness.sweep.study.trials import BEATEN, STOPPED_EARLY, Configurations, Trials, TrialState, read_trials
from harness.sweep.tune import trainable
from harness.sweep.tune.learning_curves import curve_of, read_curves, write_curve
from harness.sweep.tune.row_callback import RowCallback
from harness.sweep.tune.schedulers import Halving, TrialEnder
from harness.sweep.tune.searcher import StudySearcher
from harness.sweep.tune.trainable import run_trial
from splitters.errors import ConfigurationError

MakeSweep = Callable[..., Sweep]


class Died(BaseException):
    """The trial's process is gone."""


@dataclass
class Bench:
    """Runs a sweep's trials one after the other, until there are no more."""

    sweep: Sweep
    folder: Path
    limit: float | None = None
    end_after: int | None = None
    dies: Callable[[dict[str, Any]], bool] = lambda result: False
    is_gone: bool = False
    error: Exception | None = None
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ResultStore(self.folder / "results")
        self.configurations = Configurations(self.sweep)
        self.limits = Limits(timeout=self.limit, backoff=0.01)
        self.delays: list[float] = []

    def trials(self) -> Trials:
        return read_trials(self.sweep, self.configurations, self.store.read().latest())

    def run(self) -> Trials:
        study, rule = Study(self.sweep, self.configurations, self.trials()), self.sweep.early_stopping
        halving = Halving(rule, self.sweep.stopping_metric) if rule else None
        if halving is not None:
            halving.replay(study.trials.finished, read_curves(self.store))
        self.ender = TrialEnder(study, race=self.sweep.race, halving=halving)
        self.callback = RowCallback(
            study, self.ender, self.store, listener=SilentListener(), suite=self.sweep.name,
            declaration=RunDeclaration(self.store.storage, self.sweep.name, cell_ids=(), n_cells=0),
            limits=self.limits, is_ending=self._is_ending,
        )  # fmt: skip
        searcher = StudySearcher(study)
        number = 0
        while not self._is_ending() and (config := searcher.suggest(str(number))) != Searcher.FINISHED:
            self._work(searcher, SimpleNamespace(trial_id=str(number), config=config))
            number += 1
        self.callback.interrupt_all()
        study.tell_all()
        self.rows += self.callback.rows
        return study.trials

    def _is_ending(self) -> bool:
        return self.end_after is not None and len(self.callback.rows) >= self.end_after

    def _work(self, searcher: StudySearcher, trial: Any, *, failures: int = 0) -> None:
        trial.set_config = lambda config: setattr(trial, "config", config)
        trial.get_pickled_error = lambda: self.error
        self.delays.append(trial.config["delay"])
        try:
            run_trial(
                trial.config,
                surroundings=Surroundings("bowls", self.folder / "cache"),
                limits=self.limits,
                send=lambda result: self._report(trial, result),
            )
        except SystemExit:
            if self._is_ending():
                return
        except Died:
            self.is_gone = False
            if failures < 2:
                self.callback.on_trial_recover(0, [], trial)
                return self._work(searcher, trial, failures=failures + 1)
            searcher.on_trial_complete(trial.trial_id, error=True)
            return self.callback.on_trial_error(0, [], trial)
        searcher.on_trial_complete(trial.trial_id)

    def _report(self, trial: Any, result: dict[str, Any]) -> None:
        if self.is_gone or self.dies(result):
            self.is_gone = True  # whatever the trial does about it, nothing it sends arrives
            raise Died
        decision = self.ender.on_trial_result(None, trial, result)
        # Tune marks the result at which a scheduler stops a trial before callbacks see it.
        marked = {**result, "done": decision == TrialScheduler.STOP}
        self.callback.on_trial_result(0, [], trial, marked)
        if decision == TrialScheduler.STOP or self._is_ending():
            raise SystemExit(0)


def grid(**space: list[Any]) -> list[dict[str, Any]]:
    return [{"name": "bowl", "settings": {"y": 0.0, "noise": 0.01, "steps": 6}, "space": space}]


@pytest.fixture
def bench(make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def make(*, limit: float | None = None, end_after: int | None = None, dies: Any = None, **keys: Any) -> Bench:
        sweep = make_bowls(**{"sampler": "grid", "trials": 50, **keys})
        return Bench(sweep, tmp_path, limit, end_after, dies or (lambda result: False))

    return make


def test_what_the_driver_knows_at_the_end_is_what_rows_say(bench: Callable[..., Bench]) -> None:
    made = bench(splitters=grid(x=[0.2, 0.6], y=[0.0, 0.1], mode=["plain", "raise", "nan"]))
    trials, again = made.run(), made.trials()
    assert [(trial.key, trial.state, trial.point) for trial in trials.all] == [
        (trial.key, trial.state, trial.point) for trial in again.all
    ]
    assert {trial.configuration.values["mode"]: trial.state for trial in trials.all} == {
        "plain": TrialState.COMPLETE, "raise": TrialState.FAILED, "nan": TrialState.FAILED,
    }  # fmt: skip
    assert len(made.run().all) == len(trials.all)
    assert len(made.rows) == 4 * 2 + 8, "what failed on one seed is not run on the next, and nothing runs twice"


def test_a_race_ends_beaten_configurations_before_their_last_seeds_for_good(bench: Callable[..., Bench]) -> None:
    keys: dict[str, Any] = {"splitters": grid(x=[0.5], y=[0.0, 0.4, 0.5])}
    made = bench(seeds=4, race=True, **keys)
    trials = made.run()
    assert {trial.configuration.values["y"]: (trial.state, len(trial.seeds)) for trial in trials.all} == {
        0.0: (TrialState.COMPLETE, 4), 0.4: (TrialState.BEATEN, 2), 0.5: (TrialState.BEATEN, 2),
    }  # fmt: skip
    assert [trial.configuration.values["y"] for trial in trials.front] == [0.0]
    assert {row.failure_kind for row in made.rows} == {None, BEATEN}
    later = bench(seeds=6, race=None, **keys)
    assert [trial.state for trial in later.run().all] == [trial.state for trial in trials.all]
    assert [row.seed for row in later.rows] == [4, 5], "only the complete trial got the new seeds"


def test_early_stopping_ends_trials_that_are_behind_and_keeps_their_curves(bench: Callable[..., Bench]) -> None:
    keys: dict[str, Any] = {"seeds": 1, "splitters": grid(x=[0.0, 0.5, 1.0], y=[0.0, 0.5])}
    made = bench(early_stopping={"metric": "accuracy", "grace": 2, "reduction": 2}, **keys)
    found = {(t.configuration.values["x"], t.configuration.values["y"]): t for t in made.run().all}
    assert found[0.0, 0.0].state is TrialState.COMPLETE
    (row,) = found[1.0, 0.5].rows.values()
    assert (row.state, row.failure_kind) == (State.INTERRUPTED, STOPPED_EARLY)
    assert str(row.reason).startswith("stopped early at step 2: it was behind (accuracy 0.775")
    steps: dict[str, list[int]] = {}
    for point in read_curves(made.store).to_pylist():
        steps.setdefault(point["cell_id"], []).append(point["step"])
    assert steps[row.cell_id] == [1, 2]
    assert steps[found[0.0, 0.0].configuration.items[0].cell.cell_id] == [1, 2, 3, 4, 5, 6]
    later = bench(**keys)
    later.run()
    assert later.rows == [], "what was stopped early is not run again without the rule"


def test_a_resumed_sweep_compares_with_the_trials_of_earlier_starts(bench: Callable[..., Bench]) -> None:
    stopping = {"metric": "accuracy", "grace": 2, "reduction": 2}
    bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.0, 0.2]), trials=1).run()
    again = bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.0, 0.9]))
    states = {trial.configuration.values["x"]: trial.state for trial in again.run().all}
    assert states == {0.0: TrialState.COMPLETE, 0.9: TrialState.STOPPED}


def test_of_several_attempts_at_a_cell_trials_are_compared_with_the_one_that_counts(
    bench: Callable[..., Bench],
) -> None:
    stopping = {"metric": "accuracy", "grace": 2, "reduction": 2}
    made = bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.8, 0.2]), trials=1)
    (trial,) = made.run().all
    (row,) = trial.rows.values()
    better = [replace(point, select_accuracy=1.0) for point in curve_of(row, [])]
    write_curve(made.store, row.model_copy(update={"attempt_id": "0" * 12}), better)
    again = bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.8, 0.2])).run()
    assert {each.state for each in again.all} == {TrialState.COMPLETE}


def test_splitters_are_compared_with_themselves_when_trials_are_stopped_early(bench: Callable[..., Bench]) -> None:
    poor = {"name": "dish", "settings": {"x": 1.0, "y": 0.5, "steps": 4}, "space": {"n": [1, 2]}}
    stopping = {"metric": "accuracy", "grace": 1, "reduction": 2}
    made = bench(seeds=1, early_stopping=stopping, splitters=[*grid(x=[0.0], n=[1, 2]), poor])
    assert {trial.state for trial in made.run().all} == {TrialState.COMPLETE}


def test_only_the_first_cell_of_a_trial_is_compared_while_it_runs(bench: Callable[..., Bench]) -> None:
    stopping = {"metric": "accuracy", "grace": 1, "reduction": 2}
    splitters = [{"name": "bowl", "settings": {"noise": 0.5}, "space": {"n": [1, 2]}}]
    made = bench(seeds=2, early_stopping=stopping, splitters=splitters)
    assert {trial.state for trial in made.run().all} == {TrialState.COMPLETE}


def test_a_trial_that_takes_longer_than_its_budget_fails(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now, sleep=time.sleep)
    monkeypatch.setattr(trainable, "time", clock)

    def a_minute_passes_after_each_cell(result: dict[str, Any]) -> bool:
        clock.now += 60 * (result["report"].event == "row")
        return False

    made = bench(limit=50.0, seeds=3, splitters=grid(x=[0.2]), dies=a_minute_passes_after_each_cell)
    (trial,) = made.run().all
    assert trial.state is TrialState.FAILED
    assert trial.failure == "timeout: the trial took longer than 50 s"
    assert [row.state for row in trial.rows.values()] == [State.OK, State.TIMEOUT]


@pytest.mark.parametrize("event", ["begin", "step"])
def test_a_trial_whose_worker_dies_leaves_a_row_each_time_and_is_started_twice_more(
    bench: Callable[..., Bench], event: str
) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]), dies=lambda result: result["report"].event == event)
    (trial,) = made.run().all
    assert [row.failure_kind for row in made.rows] == ["worker_died"] * 3
    assert made.delays == [0.0, 0.01, 0.02], "later each time"
    assert trial.state is TrialState.UNFINISHED
    later = bench(seeds=1, splitters=grid(x=[0.2]))
    assert [trial.state for trial in later.run().all] == [TrialState.COMPLETE]


def test_a_trial_whose_machine_ran_out_of_memory_says_so(bench: Callable[..., Bench]) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]), dies=lambda result: result["report"].event == "step")
    made.error = OutOfMemoryError("killed")
    (trial,) = made.run().all
    assert {(row.state, row.failure_kind) for row in made.rows} == {(State.OUT_OF_MEMORY, "node_out_of_memory")}
    assert trial.state is TrialState.UNFINISHED


def test_a_trial_that_is_started_again_runs_only_what_is_left(bench: Callable[..., Bench]) -> None:
    died: list[str] = []

    def dies(result: dict[str, Any]) -> bool:
        is_second = result["report"].event == "begin" and bool(made.callback.rows) and not died
        died.extend(["once"] if is_second else [])
        return is_second

    made = bench(seeds=2, splitters=grid(x=[0.2]), dies=dies)
    (trial,) = made.run().all
    assert trial.state is TrialState.COMPLETE
    assert [(row.seed, row.state.value) for row in made.rows] == [(0, "ok"), (1, "failed"), (1, "ok")]


def test_a_trial_that_was_killed_for_its_time_is_over_and_not_started_again(bench: Callable[..., Bench]) -> None:
    made = bench(limit=0.0, seeds=2, splitters=grid(x=[0.2]), dies=lambda result: result["report"].event == "row")
    (trial,) = made.run().all
    assert [row.state for row in made.rows] == [State.TIMEOUT]
    assert trial.failure == "timeout: the trial took longer than 0 s; it did not end and was killed"


def test_an_ending_sweep_leaves_the_running_trial_unfinished_and_the_next_start_finishes_it(
    bench: Callable[..., Bench],
) -> None:
    first = bench(end_after=3, splitters=grid(x=[0.2, 0.4, 0.6]))
    assert TrialState.UNFINISHED in {trial.state for trial in first.run().all}
    second = bench(splitters=grid(x=[0.2, 0.4, 0.6]))
    assert [trial.state for trial in second.run().all] == [TrialState.COMPLETE] * 3
    assert len([row for row in [*first.rows, *second.rows] if row.state is State.OK]) == 6


def test_a_row_that_can_be_stored_nowhere_ends_the_sweep(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench(splitters=grid(x=[0.2]))
    monkeypatch.setattr(made.store, "write", lambda row: (_ for _ in ()).throw(OSError("the disk is full")))
    made.run()
    assert str(made.callback.failure) == "the disk is full"


def test_the_curve_of_a_whole_split_is_what_the_splitter_recorded(bench: Callable[..., Bench]) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]))
    made.run()
    assert [point.seconds for point in curve_of(made.rows[0], [])] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_a_damaged_curve_is_named(bench: Callable[..., Bench]) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]))
    made.run()
    (file,) = (made.folder / "results" / "curves").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ConfigurationError, match=rf"{file.name} is damaged"):
        read_curves(made.store)
