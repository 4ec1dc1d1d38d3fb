"""What the driver makes of reports: the worker's own code runs in this process, without Ray between the two."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from trial_rows import rows_of

from benchmarks.records import Row, State
from harness.attempt import Surroundings
from harness.dispatch import Limits, SilentListener
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep import dealer as dealer_module
from harness.sweep.candidates import Candidate, Cells
from harness.sweep.checks import curve_metric
from harness.sweep.claiming import NoRivals, TrialClaims
from harness.sweep.curves import curve_of, read_curves, write_curve
from harness.sweep.dealer import Dealer
from harness.sweep.file import Sweep
from harness.sweep.halving import AshaHalving
from harness.sweep.referee import Referee
from harness.sweep.reports import Report
from harness.sweep.trainable import TrialLimits, run_trial
from harness.sweep.trials import STOPPED_EARLY, TrialBook, TrialState, read_trials
from splitters.errors import ConfigurationError

MakeSweep = Callable[..., Sweep]


@dataclass
class Bench:
    """Runs a sweep's trials one after the other, as a worker and the driver do, until there are no more."""

    sweep: Sweep
    folder: Path
    limit: float | None = None
    end_after: int | None = None
    rows: list[Row] = field(default_factory=list)
    claims: TrialClaims | None = None

    def __post_init__(self) -> None:
        self.store = ResultStore(self.folder / "results")
        self.cells = Cells(self.sweep)

    def run(self, *, die: bool = False) -> TrialBook:
        dealer = Dealer(self.sweep, self.cells, self.book(), slots=1, limits=Limits(backoff=0.0))
        stopping = self.sweep.early_stopping
        halving = AshaHalving(stopping, curve_metric(self.sweep)) if stopping else None
        if halving is not None:
            halving.remember(dealer.book, read_curves(self.store))
        referee = Referee(
            dealer,
            keep=self._keep,
            listener=SilentListener(),
            is_ending=lambda: self.end_after is not None and len(self.rows) >= self.end_after,
            suite=self.sweep.name,
            limit=self.limit,
            halving=halving,
            claims=self.claims,
        )
        number = 0
        while (config := referee.begin(str(number))) is not None or referee.is_waiting:
            if config is None:
                time.sleep(0.02)
                continue
            self._work(referee, str(number), config, die=die)
            number += 1
        referee.end_all()
        return dealer.book

    def _work(self, referee: Referee, trial_id: str, config: dict[str, Any], *, die: bool) -> None:
        def report(result: dict[str, Any]) -> None:
            heard = Report.from_result(result)
            assert heard is not None
            if not referee.hear(trial_id, heard):
                referee.end(trial_id)
                raise SystemExit(0)
            if die and heard.event == "step":
                referee.end(trial_id, has_died=True)
                raise SystemExit(0)

        try:
            run_trial(
                config,
                surroundings=Surroundings("bowls", self.folder / "cache"),
                limits=TrialLimits(self.limit),
                report=report,
            )
        except SystemExit:
            return
        referee.end(trial_id)

    def _keep(self, row: Row, points: list[Any]) -> None:
        self.rows.append(row)
        self.store.write(row)
        write_curve(self.store, row, curve_of(row, points))

    def book(self) -> TrialBook:
        return read_trials(self.sweep, self.cells, self.store.read().latest())


def grid(**space: list[Any]) -> list[dict[str, Any]]:
    return [{"name": "bowl", "settings": {"y": 0.0, "noise": 0.01, "steps": 6}, "space": space}]


@pytest.fixture
def bench(make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "2")

    def make(*, limit: float | None = None, end_after: int | None = None, **keys: Any) -> Bench:
        return Bench(make_bowls(**{"sampler": "grid", "trials": 50, **keys}), tmp_path, limit, end_after)

    return make


def test_what_the_driver_knows_at_the_end_is_what_rows_tell(bench: Callable[..., Bench]) -> None:
    made = bench(splitters=grid(x=[0.2, 0.6], y=[0.0, 0.1], mode=["plain", "raise", "nan"]))
    book, again = made.run(), made.book()
    assert [(trial.key, trial.state, trial.point) for trial in book.trials] == [
        (trial.key, trial.state, trial.point) for trial in again.trials
    ]
    assert {trial.candidate.values["mode"]: trial.state for trial in book.trials} == {
        "plain": TrialState.COMPLETE, "raise": TrialState.FAILED, "nan": TrialState.FAILED,
    }  # fmt: skip
    assert len(made.run().trials) == len(book.trials)
    assert len(made.rows) == 4 * 2 + 8, "what failed on one seed is not run on the next, and nothing runs twice"


def test_a_race_ends_beaten_configurations_before_their_last_seeds(bench: Callable[..., Bench]) -> None:
    made = bench(seeds=4, race=True, splitters=grid(x=[0.5], y=[0.0, 0.4, 0.5]))
    book = made.run()
    assert {trial.candidate.values["y"]: (trial.state, len(trial.seeds)) for trial in book.trials} == {
        0.0: (TrialState.COMPLETE, 4), 0.4: (TrialState.BEATEN, 2), 0.5: (TrialState.BEATEN, 2),
    }  # fmt: skip
    assert [trial.state for trial in made.book().trials] == [trial.state for trial in book.trials]
    assert [trial.candidate.values["y"] for trial in book.front] == [0.0]


def test_trials_begin_with_different_seeds_so_that_they_do_not_wait_for_the_same_base_model(
    bench: Callable[..., Bench],
) -> None:
    made = bench(seeds=[4, 6], splitters=grid(x=[0.2, 0.4]))
    made.run()
    assert [row.seed for row in made.rows] == [4, 6, 6, 4]


def test_early_stopping_ends_trials_that_lie_behind_and_keeps_their_curves(bench: Callable[..., Bench]) -> None:
    stopping = {"metric": "accuracy", "grace": 2, "reduction": 2}
    made = bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.0, 0.5, 1.0], y=[0.0, 0.5]))
    found = {(t.candidate.values["x"], t.candidate.values["y"]): t for t in made.run().trials}
    assert found[0.0, 0.0].state is TrialState.COMPLETE
    (row,) = found[1.0, 0.5].rows.values()
    assert (row.state, row.failure_kind) == (State.INTERRUPTED, STOPPED_EARLY)
    assert row.reason is not None
    assert row.reason.startswith("stopped early at step 2: it lay behind (accuracy 0.775")
    steps: dict[str, list[int]] = {}
    for point in read_curves(made.store).to_pylist():
        steps.setdefault(point["cell_id"], []).append(point["step"])
    assert steps[row.cell_id] == [1, 2]
    assert steps[found[0.0, 0.0].candidate.items[0].cell.cell_id] == [1, 2, 3, 4, 5, 6]
    n_rows = len(made.rows)
    made.run()
    assert len(made.rows) == n_rows, "what was stopped early is not run again"


def test_a_resumed_sweep_compares_with_the_trials_of_earlier_calls(bench: Callable[..., Bench]) -> None:
    stopping = {"metric": "accuracy", "grace": 2, "reduction": 2}
    bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.0, 0.2]), trials=1).run()
    again = bench(early_stopping=stopping, seeds=1, splitters=grid(x=[0.0, 0.9]))
    states = {trial.candidate.values["x"]: trial.state for trial in again.run().trials}
    assert states == {0.0: TrialState.COMPLETE, 0.9: TrialState.STOPPED}


def test_splitters_are_compared_with_themselves_when_trials_are_stopped_early(bench: Callable[..., Bench]) -> None:
    poor = {"name": "dish", "settings": {"x": 1.0, "y": 0.5, "steps": 4}, "space": {"n": [1, 2]}}
    stopping = {"metric": "accuracy", "grace": 1, "reduction": 2}
    made = bench(seeds=1, early_stopping=stopping, splitters=[*grid(x=[0.0], n=[1, 2]), poor])
    assert {trial.state for trial in made.run().trials} == {TrialState.COMPLETE}


def test_only_the_first_cell_of_a_trial_is_compared_while_it_runs(bench: Callable[..., Bench]) -> None:
    stopping = {"metric": "accuracy", "grace": 1, "reduction": 2}
    splitters = [{"name": "bowl", "settings": {"noise": 0.5}, "space": {"n": [1, 2]}}]
    made = bench(seeds=2, early_stopping=stopping, splitters=splitters)
    assert {trial.state for trial in made.run().trials} == {TrialState.COMPLETE}


def test_a_trial_that_takes_longer_than_its_budget_fails(bench: Callable[..., Bench]) -> None:
    made = bench(limit=0.5, seeds=3, splitters=[{"name": "bowl", "settings": {"pause": 0.1}, "space": {"x": [0.2]}}])
    (trial,) = made.run().trials
    assert trial.state is TrialState.FAILED
    assert trial.failure == "timeout: the trial took longer than 0.5 s"
    assert [row.state for row in trial.rows.values()] == [State.OK, State.TIMEOUT]


def test_a_dead_worker_leaves_a_row_and_its_trial_is_dealt_twice_more_and_then_left(
    bench: Callable[..., Bench],
) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]))
    (trial,) = made.run(die=True).trials
    assert [row.failure_kind for row in made.rows] == ["worker_died"] * 3
    assert trial.state is TrialState.UNFINISHED
    assert [trial.state for trial in made.run().trials] == [TrialState.COMPLETE]


def test_trials_that_run_are_not_kept_waiting_while_other_drivers_are_asked(bench: Callable[..., Bench]) -> None:
    made, rival = bench(seeds=1, sampler="random", trials=20, splitters=grid(x={"float": [0, 1]})), Rival([()])
    referee = referee_of(made, rival)
    assert referee.begin("runs") is not None
    own = referee.overhead.own
    assert (referee.begin("waits"), rival.n_asked) == (None, 2)
    assert referee.overhead.own == own, "waiting for others is no trial's cost"
    referee.end("runs")
    assert (referee.begin("waits"), referee.is_waiting) == (None, True)
    assert rival.n_asked == 2 + (1 + dealer_module.MOST_HELD) + 1, "a few more than wait already"
    rival.is_blind = True
    assert (referee.begin("waits"), rival.n_asked) == (None, 9), "nothing is proposed for nothing"


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.5])
def test_a_free_configuration_is_found_behind_many_that_others_run_however_slow_the_store_is(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    clock = [0.0]
    monkeypatch.setattr(dealer_module.time, "monotonic", lambda: clock[0])
    made = bench(seeds=1, sampler="grid", trials=40, splitters=grid(x=[number / 40 for number in range(40)]))
    referee = referee_of(made, NoRivals())
    dealt_first = [0.5, *(number / 40 for number in range(9))]
    theirs = {item.cell.cell_id for x in dealt_first for item in candidate_of(made, x).items}

    class Slow(NoRivals):
        def take(self, items: Sequence[SuiteCell]) -> Sequence[Row] | None:
            clock[0] += seconds
            return None if theirs.intersection(item.cell.cell_id for item in items) else ()

    referee._claims = Slow()
    while referee.begin("free") is None:
        assert clock[0] < 120, "never found"
        clock[0] += 2.0
    assert referee.dealer.n_held == len(dealt_first)


def candidate_of(made: Bench, x: float) -> Candidate:
    return made.cells.candidate(made.sweep.spaces[0], {"x": x})


def test_what_cannot_be_claimed_any_more_ends_a_sweep_when_nothing_runs(bench: Callable[..., Bench]) -> None:
    made, rival = bench(seeds=1, sampler="random", trials=5, splitters=grid(x={"float": [0, 1]})), Rival([()])
    referee = referee_of(made, rival)
    assert referee.begin("runs") is not None
    rival.failure = OSError("the token has expired")
    assert referee.begin("waits") is None
    referee.end("runs")
    with pytest.raises(OSError, match="the token has expired"):
        referee.begin("waits")


class Rival(NoRivals):
    """Another driver: it answers once with each of some rows, and then runs whatever it is asked for."""

    def __init__(self, answers: Sequence[Sequence[Row]]) -> None:
        self.is_blind = False
        self.n_asked = 0
        self._answers = list(answers)

    def take(self, items: Sequence[SuiteCell]) -> Sequence[Row] | None:
        self.n_asked += 1
        return self._answers.pop(0) if self._answers else None


def referee_of(made: Bench, claims: TrialClaims) -> Referee:
    dealer = Dealer(made.sweep, made.cells, made.book(), slots=2)
    return Referee(
        dealer, keep=made._keep, listener=SilentListener(), is_ending=lambda: False, suite="bowls", claims=claims
    )


@pytest.mark.parametrize(
    ("state", "kind", "runs"),
    [
        (State.TIMEOUT, None, False),
        (State.INTERRUPTED, STOPPED_EARLY, False),
        (State.FAILED, "SplitFailedError", False),
        (State.INTERRUPTED, None, True),
        (State.FAILED, "worker_died", True),
    ],
)
def test_a_row_of_another_driver_counts_as_it_would_if_it_had_come_before(
    bench: Callable[..., Bench], state: State, kind: str | None, runs: bool
) -> None:
    made = bench(seeds=1, splitters=grid(x=[0.2]))
    rows = rows_of(made.sweep, x=0.2, state=state, kind=kind)
    before = read_trials(made.sweep, made.cells, rows).trials[0]
    referee = referee_of(made, Rival([rows]))
    assert (referee.begin("first") is not None) == runs == (not before.is_over)
    if not runs:
        (trial,) = referee.dealer.book.trials
        assert (trial.state, referee.n_answered) == (before.state, 1)


def test_a_worker_that_dies_before_its_first_word_leaves_a_row(bench: Callable[..., Bench]) -> None:
    made = bench(seeds=2, splitters=grid(x=[0.2]))
    referee = referee_of(made, NoRivals())
    assert referee.begin("silent") is not None
    time.sleep(0.3)
    referee.end("silent", has_died=True)
    assert [(row.state, row.failure_kind) for row in made.rows] == [(State.FAILED, "worker_died")]
    assert made.rows[0].seconds < 0.2, "the time that it waited for a place is no device's"
    assert [trial.state for trial in made.book().trials] == [TrialState.UNFINISHED], "whoever reads rows hears of it"
    assert referee.is_waiting


def test_an_ending_sweep_leaves_the_running_trial_unfinished_and_goes_on_with_it(bench: Callable[..., Bench]) -> None:
    first = bench(end_after=3, splitters=grid(x=[0.2, 0.4, 0.6]))
    assert [trial.state for trial in first.run().trials] == [TrialState.COMPLETE] * 2, "it ended between two trials"
    second = bench(splitters=grid(x=[0.2, 0.4, 0.6]))
    assert [trial.state for trial in second.run().trials] == [TrialState.COMPLETE] * 3
    assert len(second.rows) == 2


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
