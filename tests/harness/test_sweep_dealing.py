from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from trial_rows import rows_of

from benchmarks.records import State
from harness.dispatch import Limits
from harness.sweep import dealer as dealer_module
from harness.sweep.candidates import Cells
from harness.sweep.dealer import Deal, Dealer
from harness.sweep.file import Sweep
from harness.sweep.study import HAS_CONSTRAINTS, close_running, frozen_trial, new_study
from harness.sweep.trials import STOPPED_EARLY, Trial, TrialBook, read_trials

MakeSweep = Callable[..., Sweep]
SMALL = {"n": {"int": [1, 3]}, "mode": ["plain", "raise"]}


def dealer(sweep: Sweep, rows: Iterable[Any] = (), *, slots: int = 1, limits: Limits | None = None) -> Dealer:
    cells = Cells(sweep)
    return Dealer(sweep, cells, read_trials(sweep, cells, rows), slots=slots, limits=limits)


def answered(sweep: Sweep, deal: Deal, **keys: Any) -> Trial:
    """Returns a dealt trial with the rows that running it gives."""
    place = [space.label for space in sweep.spaces].index(deal.trial.candidate.space.label)
    trial = deal.trial
    for row in rows_of(sweep, splitter=place, **keys, **trial.candidate.values):
        trial = trial.with_row(row)
    return trial


def deal_all(sweep: Sweep, dealt: Dealer, **keys: Any) -> list[Trial]:
    found = []
    while (deal := dealt.deal()) is not None:
        found.append(dealt.finish(answered(sweep, deal, at=10.0 * len(found), **keys)))
    return found


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", {"name": "gp", "startup": 4}])
def test_every_sampler_deals_as_many_different_trials_as_are_wanted(make_bowls: MakeSweep, sampler: object) -> None:
    sweep = make_bowls(trials=7, sampler=sampler, constraints=["accuracy_loss <= 0.9"])
    trials = deal_all(sweep, dealer(sweep))
    assert len({trial.key for trial in trials}) == 7
    assert trials[0].candidate.values == {"x": 0.5, "y": 0.2}, "the default comes first"
    assert [trial.number for trial in trials] == list(range(7))


def test_splitters_take_turns_and_unfinished_trials_come_before_new_ones(make_bowls: MakeSweep) -> None:
    splitters = [{"name": name, "space": {"x": {"float": [0, 1]}}} for name in ("bowl", "dish")]
    sweep = make_bowls(trials=6, splitters=splitters)
    known = [*rows_of(sweep, x=0.1), rows_of(sweep, x=0.9, at=5)[0]]
    dealt = dealer(sweep, known)
    assert dealt.n_left == 5
    trials = deal_all(sweep, dealt)
    assert [trials[0].candidate.values, len(trials[0].candidate.items)] == [{"x": 0.9}, 2]
    assert Counter(trial.candidate.space.label for trial in dealt.book.over) == {"bowl": 3, "dish": 3}


@pytest.mark.parametrize("kind", ["DataError", "worker_died"])
def test_a_trial_that_a_machine_failed_keeps_its_place_and_comes_back_with_the_next_sweep(
    make_bowls: MakeSweep, kind: str
) -> None:
    sweep = make_bowls(trials=5, sampler="random")
    trials = deal_all(sweep, dealer(sweep), state=State.FAILED, kind=kind)
    assert len({trial.key for trial in trials}) == len(trials) == 5
    rows = [row for trial in trials for row in trial.rows.values()]
    again = deal_all(sweep, dealer(sweep, rows))
    assert {trial.key for trial in again} == {trial.key for trial in trials}


def test_a_trial_that_a_machine_failed_is_dealt_again_when_its_time_has_come_and_others_meanwhile(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(dealer_module.time, "monotonic", lambda: clock[0])
    sweep = make_bowls(trials=2, sampler="grid", splitters=[{"name": "bowl", "space": {"x": [0.1, 0.2, 0.3]}}])
    dealt = dealer(sweep, limits=Limits(retries=2, backoff=10.0))

    def fail() -> str:
        deal = dealt.deal()
        assert deal is not None
        failed = answered(sweep, deal, state=State.FAILED, kind="worker_died")
        return dealt.finish(failed, again=True).key

    first = fail()
    other = dealt.deal()
    assert other is not None
    assert other.trial.key != first
    assert (dealt.deal(), dealt.is_waiting) == (None, True), "no third trial takes the place of the one that waits"
    dealt.finish(answered(sweep, other))
    times = []
    while dealt.is_waiting:
        deal = dealt.deal()
        if deal is not None:
            times.append(clock[0])
            assert deal.trial.key == first
            dealt.finish(answered(sweep, deal, state=State.FAILED, kind="worker_died"), again=True)
        clock[0] += 1.0
    assert times == [10.0, 30.0], "twice as long before the second try, and no third one"
    assert dealt.deal() is None
    assert [trial.is_over for trial in dealt.book.trials] == [False, True]


def test_a_trial_that_another_driver_runs_is_put_back_and_nothing_takes_its_place(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealer_module, "CLAIM_SECONDS", 0.0)
    sweep = make_bowls(trials=3, sampler="random")
    dealt = dealer(sweep)
    deal = dealt.deal()
    assert deal is not None
    dealt.put_back(deal)
    trials = deal_all(sweep, dealt)
    assert [trials[0].key, len(trials)] == [deal.trial.key, 3]
    (study,) = dealt.studies.values()
    assert [trial.state for trial in study.trials] == [OptunaState.COMPLETE] * 3, "it was asked for once"


def test_a_proposal_that_waits_is_not_dealt_before_its_time(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealer_module, "CLAIM_SECONDS", 3600.0)
    splitters = [{"name": "bowl", "space": {"x": [0.1, 0.2], "n": {"int": [1, 3]}}}]
    sweep = make_bowls(trials=4, sampler="random", splitters=splitters)
    dealt = dealer(sweep)
    waiting = []
    for _ in range(2):
        deal = dealt.deal()
        assert deal is not None
        dealt.put_back(deal)
        waiting.append(deal.trial.key)
    rest = [trial.key for trial in deal_all(sweep, dealt)]
    assert len({*waiting, *rest}) == len(waiting) + len(rest) == 4


def test_splitters_get_as_many_trials_though_machines_fail_some(make_bowls: MakeSweep) -> None:
    splitters = [{"name": name, "space": {"x": {"float": [0, 1]}}} for name in ("bowl", "dish")]
    sweep = make_bowls(trials=8, sampler="random", splitters=splitters)
    dealt, n_failed = dealer(sweep, limits=Limits(retries=1, backoff=0.2)), 0
    while (deal := dealt.deal()) is not None or dealt.is_waiting:
        if deal is None:
            time.sleep(0.05)
            continue
        fails = deal.trial.candidate.space.label == "bowl" and n_failed < 3 and not deal.trial.rows
        n_failed += fails
        state: dict[str, Any] = {"state": State.FAILED, "kind": "worker_died"} if fails else {}
        dealt.finish(answered(sweep, deal, **state), again=fails)
    assert n_failed == 3
    assert Counter(trial.candidate.space.label for trial in dealt.book.over) == {"bowl": 4, "dish": 4}


def test_no_more_is_proposed_while_several_proposals_wait_for_other_drivers(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealer_module, "CLAIM_SECONDS", 3600.0)
    splitters = [{"name": name, "space": {"x": {"float": [0, 1]}}} for name in ("bowl", "dish")]
    sweep = make_bowls(trials=20, sampler="random", splitters=splitters)
    dealt = dealer(sweep, slots=3)
    runs, labels = dealt.deal(), []
    assert runs is not None
    for _ in range(dealer_module.MOST_HELD + 3):
        deal = dealt.deal()
        assert deal is not None
        labels.append(deal.trial.candidate.space.label)
        dealt.put_back(deal)
    assert Counter([*labels, runs.trial.candidate.space.label]) == {"bowl": 4, "dish": 4}
    assert (dealt.deal(), dealt.is_waiting) == (None, True)
    dealt.finish(answered(sweep, runs))
    assert dealt.deal() is not None, "whoever has nothing to run must not wait for what others run"


def test_a_trial_that_was_given_up_is_not_dealt_again(make_bowls: MakeSweep) -> None:
    splitters = [{"name": "bowl", "space": {"x": [0.1, 0.2], "n": {"int": [1, 3]}}}]
    for seed in range(5):
        sweep = make_bowls(trials=5, sampler={"name": "random", "seed": seed}, splitters=splitters)
        dealt = dealer(sweep, limits=Limits(retries=0))
        first = dealt.deal()
        assert first is not None
        lost = dealt.finish(answered(sweep, first, state=State.FAILED, kind="worker_died"), again=True)
        others = [trial.key for trial in deal_all(sweep, dealt)]
        assert lost.key not in others
        assert len(set(others)) == len(others) == 4


def test_a_small_space_is_tried_point_by_point_and_ends_early(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=20, sampler="tpe", splitters=[{"name": "bowl", "space": SMALL}])
    trials = deal_all(sweep, dealer(sweep))
    assert len({trial.key for trial in trials}) == len(trials) == 6
    assert dealer(sweep, []).deal() is not None


def test_a_grid_is_tried_in_order_after_the_default(make_bowls: MakeSweep) -> None:
    space = {"x": {"float": [0, 0.5], "step": 0.25}, "y": [0.2, 0.3]}
    sweep = make_bowls(trials=6, sampler="grid", splitters=[{"name": "bowl", "space": space}])
    values = [(trial.candidate.values["x"], trial.candidate.values["y"]) for trial in deal_all(sweep, dealer(sweep))]
    assert values == [(0.5, 0.2), (0.0, 0.2), (0.0, 0.3), (0.25, 0.2), (0.25, 0.3), (0.5, 0.3)]


def test_where_neither_sampler_nor_chance_finds_a_new_point_what_is_left_of_the_space_is_tried(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealer_module, "_MOST_REPEATS", 0)
    sweep = make_bowls(trials=5, sampler="random", splitters=[{"name": "bowl", "space": SMALL}])
    assert sweep.spaces[0].size == 6
    trials = deal_all(sweep, dealer(sweep))
    assert len({trial.key for trial in trials}) == len(trials) == 5


def test_a_known_configuration_is_answered_from_what_is_known_and_another_one_dealt(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=4, sampler="tpe", splitters=[{"name": "bowl", "space": {"n": {"int": [1, 5]}}}])
    dealt = dealer(sweep)
    trials = deal_all(sweep, dealt)
    assert len({trial.key for trial in trials}) == 4
    told = dealt.studies["bowl"].get_trials()
    assert len(told) == 4 + dealt.repeats
    assert all(trial.state is OptunaState.COMPLETE for trial in told)


def test_two_trials_at_once_are_never_the_same(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=4, sampler="random", splitters=[{"name": "bowl", "space": {"n": {"int": [1, 9]}}}])
    dealt = dealer(sweep, slots=2)
    deals = [deal for deal in (dealt.deal() for _ in range(6)) if deal is not None]
    assert len({deal.trial.key for deal in deals}) == len(deals) == 4
    for deal in deals:
        dealt.finish(answered(sweep, deal))
    states = {trial.state for trial in dealt.studies["bowl"].get_trials()}
    assert states == {OptunaState.COMPLETE}, "twins of running trials are told when these end"


def test_combinations_that_the_splitter_refuses_are_told_as_failed_and_not_dealt(make_bowls: MakeSweep) -> None:
    space = {"population": {"int": [4, 30]}, "parents": {"int": [2, 30]}}
    splitter = {"name": "cnnsplitter", "settings": {"elites": 2, "parents": 4}, "space": space}
    sweep = make_bowls(trials=8, scenario="modularization", splitters=[splitter], sampler="random")
    dealt = dealer(sweep)
    deals = [deal for deal in (dealt.deal() for _ in range(8)) if deal is not None]
    assert len(deals) == 8
    assert all(deal.trial.candidate.values["parents"] <= deal.trial.candidate.values["population"] for deal in deals)
    failed = dealt.studies["cnnsplitter"].get_trials(states=(OptunaState.FAIL,))
    assert len(failed) == sum(dealt.refusals.values()) > 0


# What Optuna is told


def test_a_value_that_is_no_number_fails_the_trial_and_leaves_nothing_running(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    dealt = dealer(sweep)
    deal_all(sweep, dealt, state=State.FAILED, kind="not_finite")
    assert {trial.state for trial in dealt.studies["bowl"].get_trials()} == {OptunaState.FAIL}


def test_optuna_itself_fails_a_trial_that_is_told_nan_or_nothing_without_a_state() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    for values in ([math.nan, 0.1], None):
        trial = study.ask()
        with pytest.warns(UserWarning, match="not acceptable|could not be cast"):
            study.tell(trial, values)
    assert [trial.state for trial in study.get_trials()] == [OptunaState.FAIL] * 2
    trial = study.ask()
    with pytest.raises(ValueError, match="not acceptable"):
        study.tell(trial, [math.nan, 0.1], state=OptunaState.COMPLETE)
    assert study.get_trials()[-1].state is OptunaState.RUNNING, "the trap: with a state, it is left running"


def test_trials_that_are_left_running_are_failed(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    dealt = dealer(sweep)
    for _ in range(3):
        dealt.deal()
    assert dealt.close() == 3
    assert {trial.state for trial in dealt.studies["bowl"].get_trials()} == {OptunaState.FAIL}
    assert close_running(dealt.studies["bowl"]) == 0


@pytest.mark.skipif(not HAS_CONSTRAINTS, reason="this Optuna has no constraints of trials")
def test_constraints_reach_optuna_with_the_trial_and_survive_a_new_start(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(constraints=["accuracy_loss <= 0.75"], trials=4)
    dealt = dealer(sweep)
    trials = deal_all(sweep, dealt)
    told = dealt.studies["bowl"].get_trials()
    expected = [trial.values["accuracy_loss"].mean - 0.75 for trial in trials]
    assert [trial.constraints["accuracy_loss <= 0.75"] for trial in told] == pytest.approx(expected)
    rows = [row for trial in trials for row in trial.rows.values()]
    again = dealer(sweep, rows).studies["bowl"]
    assert sorted(trial.constraints["accuracy_loss <= 0.75"] for trial in again.get_trials()) == pytest.approx(
        sorted(expected)
    )
    feasible = {trial.number for trial in trials if trial.is_feasible}
    assert again.best_trials
    assert {trial.user_attrs["number"] for trial in again.best_trials} <= feasible


def test_a_new_start_rebuilds_the_study_and_goes_on_elsewhere(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=6, sampler="tpe")
    first = deal_all(make_bowls(trials=3, sampler="tpe"), dealer(make_bowls(trials=3, sampler="tpe")))
    rows = [row for trial in first for row in trial.rows.values()]
    again = dealer(sweep, rows)
    assert [trial.params for trial in again.studies["bowl"].get_trials()] == [dict(t.candidate.values) for t in first]
    more = deal_all(sweep, again)
    assert len(more) == 3
    assert len({trial.key for trial in [*first, *more]}) == 6


def generations(dealt: Dealer) -> list[int]:
    return [trial.system_attrs["NSGAIISampler:generation"] for trial in dealt.studies["bowl"].get_trials()]


def test_generations_go_on_after_a_new_start(make_bowls: MakeSweep) -> None:
    sampler = {"name": "nsga2", "population": 4}
    one = dealer(sweep := make_bowls(trials=10, sampler=sampler))
    rows = [row for trial in deal_all(sweep, one) for row in trial.rows.values()]
    assert generations(one)[:5] == [0, 0, 0, 0, 1], "the default is one of the first generation"
    again = dealer(more := make_bowls(trials=11, sampler=sampler), rows)
    deal_all(more, again)
    assert generations(again)[:11] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


def test_a_trial_that_was_stopped_early_is_pruned_and_a_beaten_one_keeps_its_values(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(seeds=3, race=True)
    stopped, beaten, rival = (
        Trial(Cells(sweep).candidate(sweep.spaces[0], {"x": x, "y": y}), {}, sweep.goals, sweep.bounds)
        for x, y in ((0.1, 0.1), (0.5, 0.5), (0.5, 0.0))
    )
    for row in rows_of(sweep, x=0.1, y=0.1, state=State.INTERRUPTED, kind=STOPPED_EARLY)[:1]:
        stopped = stopped.with_row(row)
    for row in rows_of(sweep, x=0.5, y=0.5)[:2]:
        beaten = beaten.with_row(row)
    for row in rows_of(sweep, x=0.5, y=0.0):
        rival = rival.with_row(row)
    book = TrialBook(race=sweep.race).with_trial(rival).with_trial(beaten)
    study = new_study("told", sweep.goals)
    study.add_trials([frozen_trial(replace(stopped, number=2)), frozen_trial(book.trials[1])])
    assert [trial.state for trial in study.get_trials()] == [OptunaState.PRUNED, OptunaState.COMPLETE]
    assert study.get_trials()[1].values == pytest.approx([1.0, 0.375])
