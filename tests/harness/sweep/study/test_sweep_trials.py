from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trial_rows import ORIGIN, rows_of

from benchmarks.rows.row import State
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.plan import plan_sweep
from harness.sweep.study.trials import BEATEN, STOPPED_EARLY, Configurations, Trials, TrialState, read_trials
from harness.sweep.tune.schedulers import race_verdict

MakeSweep = Callable[..., Sweep]


def read(sweep: Sweep, *rows: Any) -> Trials:
    return read_trials(sweep, Configurations(sweep), [row for part in rows for row in part])


def test_trials_come_back_from_rows_in_the_order_in_which_they_began(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    trials = read(sweep, rows_of(sweep, x=0.3, y=0.1, at=10), rows_of(sweep, x=0.7, y=0.0, at=5))
    assert [(trial.number, trial.configuration.values) for trial in trials.all] == [
        (0, {"x": 0.7, "y": 0.0}), (1, {"x": 0.3, "y": 0.1}),
    ]  # fmt: skip
    assert [trial.state for trial in trials.all] == [TrialState.COMPLETE] * 2
    assert trials.all[1].values["accuracy_loss"].mean == pytest.approx(0.4)


def test_a_trial_keeps_its_number_when_its_cells_run_again(make_bowls: MakeSweep, tmp_path: Path) -> None:
    sweep, store = make_bowls(), ResultStore(tmp_path)
    for x, at in ((0.3, 0), (0.7, 5), (0.3, 10)):
        for row in rows_of(sweep, x=x, y=0.0, at=at):
            store.write(row)
    trials = plan_sweep(sweep, store).trials.all
    assert [(trial.configuration.values["x"], trial.started_at) for trial in trials] == [
        (0.3, ORIGIN + timedelta(seconds=10)), (0.7, ORIGIN + timedelta(seconds=5)),
    ]  # fmt: skip


def test_rows_of_other_settings_spaces_or_scenarios_are_no_trials(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    other = make_bowls(
        seeds=2, splitters=[{"name": "bowl", "settings": {"steps": 9}, "space": {"x": {"float": [0, 1]}}}]
    )
    outside = make_bowls(splitters=[{"name": "bowl", "space": {"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}}])
    assert not read(sweep, rows_of(other, x=0.3)).all
    assert not read(sweep, rows_of(outside, x=0.3, y=0.9)).all
    on_test = [row.model_copy(update={"scenario": "bowl"}) for row in rows_of(sweep, x=0.3, y=0.1)]
    assert not read(sweep, on_test).all


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        (State.OK, None, TrialState.COMPLETE),
        (State.FAILED, "SplitFailedError", TrialState.FAILED),
        (State.FAILED, "not_finite", TrialState.FAILED),
        (State.TIMEOUT, None, TrialState.FAILED),
        (State.OUT_OF_MEMORY, "MemoryError", TrialState.FAILED),
        (State.SKIPPED, None, TrialState.FAILED),
        (State.FAILED, "worker_died", TrialState.UNFINISHED),
        (State.FAILED, "DataError", TrialState.UNFINISHED),
        (State.INTERRUPTED, None, TrialState.UNFINISHED),
        (State.INTERRUPTED, STOPPED_EARLY, TrialState.STOPPED),
        (State.INTERRUPTED, BEATEN, TrialState.BEATEN),
    ],
)
def test_the_state_of_a_trial_follows_from_its_rows(
    make_bowls: MakeSweep, state: State, kind: str | None, expected: TrialState
) -> None:
    sweep = make_bowls()
    first, second = rows_of(sweep, x=0.3, y=0.1)
    ended = rows_of(sweep, x=0.3, y=0.1, state=state, kind=kind)[1] if state is not State.OK else second
    (trial,) = read(sweep, [first, ended]).all
    assert trial.state is expected
    assert trial.is_finished is (expected is not TrialState.UNFINISHED)


def test_a_trial_is_ranked_when_it_has_all_seeds_and_never_before(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(seeds=3)
    lucky = rows_of(sweep, x=0.0, y=0.0)[:1]
    trials = read(sweep, lucky, rows_of(sweep, x=0.5, y=0.1, at=3))
    assert [trial.number for trial in trials.front] == [1]
    assert [item.cell.seed for item in trials.unfinished[0].missing] == [1, 2]


def test_the_mean_over_seeds_comes_after_the_mean_over_data_sets_and_models(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(models=["simcnn", "rescnn"])
    rows = rows_of(sweep, x=0.2, y=0.0)
    losses = dict(zip([row.cell_id for row in rows], [0.1, 0.3, 0.5, 0.7], strict=True))
    changed = [row.model_copy(update={"select_accuracy_loss": losses[row.cell_id]}) for row in rows]
    (trial,) = read(sweep, changed).all
    assert trial.values["accuracy_loss"].mean == pytest.approx(0.4)
    # Two seeds with the means 0.2 and 0.6: t(0.975, 1) * 0.2828 / sqrt(2).
    assert trial.values["accuracy_loss"].half_width == pytest.approx(12.7062 * 0.2, rel=1e-3)


def test_constraints_are_read_on_select_and_keep_trials_off_the_front(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(constraints=["accuracy_loss <= 0.5", "kernel_retention >= 0.1"])
    trials = read(
        sweep, rows_of(sweep, x=0.6, y=0.0), rows_of(sweep, x=0.2, y=0.0, at=3), rows_of(sweep, x=0.4, y=0.0, at=6)
    )
    assert [trial.is_feasible for trial in trials.all] == [False, True, True]
    assert [trial.number for trial in trials.front] == [1, 2]
    assert trials.all[0].violations == {
        "accuracy_loss <= 0.5": pytest.approx(0.1), "kernel_retention >= 0.1": pytest.approx(0.02),
    }  # fmt: skip


def race(sweep: Sweep, *rows: Any, number: int) -> str | None:
    """Returns the reason for which a race ends a trial."""
    trials, rule = read(sweep, *rows), sweep.race
    assert rule is not None
    verdict = race_verdict(rule, trials.all[number], trials)
    return verdict.reason if verdict is not None else None


def test_a_beaten_configuration_ends_its_race_and_a_good_one_goes_on(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(seeds=3, race={"after": 2, "confidence": 0.9})
    best = rows_of(sweep, x=0.5, y=0.0)
    bad, good = rows_of(sweep, x=0.6, y=0.4, at=3)[:2], rows_of(sweep, x=0.3, y=0.0, at=6)[:2]
    assert race(sweep, best, bad, good, number=1) == "beaten on seeds 0, 1 by bowl {'x': 0.5, 'y': 0.0}"
    assert race(sweep, best, bad, good, number=2) is None
    assert race(sweep, best, bad[:1], number=1) is None, "every configuration gets two seeds"
    assert race(sweep, bad, number=0) is None, "without a rival nobody is beaten"


def test_a_rival_that_breaks_a_constraint_beats_nobody(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(seeds=3, race={"after": 2, "confidence": 0.9}, constraints=["kernel_retention <= 0.1"])
    best, bad = rows_of(sweep, x=0.5, y=0.0), rows_of(sweep, x=0.6, y=0.4, at=3)[:2]
    assert race(sweep, best, bad, number=1) is None


@pytest.mark.parametrize(("kind", "state"), [(BEATEN, TrialState.BEATEN), (STOPPED_EARLY, TrialState.STOPPED)])
def test_what_ended_early_stays_ended_without_the_rule_and_with_more_seeds(
    make_bowls: MakeSweep, kind: str, state: TrialState
) -> None:
    sweep = make_bowls(seeds=3)
    measured = rows_of(sweep, x=0.3, y=0.1)[:2]
    verdict = rows_of(sweep, x=0.3, y=0.1, state=State.INTERRUPTED, kind=kind)[2]
    for grown in (sweep, make_bowls(seeds=5)):
        (trial,) = read(grown, measured, [verdict]).all
        assert (trial.state, trial.seeds) == (state, [0, 1])
        assert not read(grown, measured, [verdict]).unfinished


def test_a_verdict_of_an_earlier_study_is_none_in_another_one(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    rows = [rows_of(sweep, x=0.3, y=0.1)[0], rows_of(sweep, x=0.3, y=0.1, state=State.INTERRUPTED, kind=BEATEN)[1]]
    states = [
        read_trials(sweep, Configurations(sweep), rows, since=ORIGIN + timedelta(seconds=seconds)).all[0].state
        for seconds in (0, 60)
    ]
    assert states == [TrialState.BEATEN, TrialState.UNFINISHED]


def test_more_seeds_and_data_sets_open_known_trials_again_the_front_first(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    rows = [*rows_of(sweep, x=0.3, y=0.4), *rows_of(sweep, x=0.3, y=0.0, at=3)]
    grown = make_bowls(seeds=3)
    trials = read(grown, rows)
    assert [trial.number for trial in trials.unfinished] == [1, 0]
    assert [[item.cell.seed for item in trial.missing] for trial in trials.unfinished] == [[2], [2]]


def test_a_wider_range_keeps_what_is_known(make_bowls: MakeSweep) -> None:
    narrow = make_bowls(splitters=[{"name": "bowl", "space": {"x": {"float": [0.2, 0.4]}}}])
    wide = make_bowls(splitters=[{"name": "bowl", "space": {"x": {"float": [0.1, 0.9]}}}])
    rows = rows_of(narrow, x=0.3)
    assert [trial.state for trial in read(wide, rows).all] == [TrialState.COMPLETE]
    assert not read(narrow, rows_of(wide, x=0.8)).all


def test_rows_of_a_sweep_name_its_plugins(make_bowls: MakeSweep) -> None:
    (first, *_) = rows_of(make_bowls(), x=0.1)
    assert first.plugins == ["bowl_plugin"]
