from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState
from trial_rows import rows_of

from benchmarks.rows.row import State
from harness.sweep.definition.file import Sweep
from harness.sweep.study import study as study_module
from harness.sweep.study.optuna_trials import frozen_trial, new_study
from harness.sweep.study.study import Study
from harness.sweep.study.trials import STOPPED_EARLY, Configurations, Trial, read_trials

MakeSweep = Callable[..., Sweep]
SMALL = {"n": {"int": [1, 3]}, "mode": ["plain", "raise"]}


def study_of(sweep: Sweep, rows: Iterable[Any] = ()) -> Study:
    configurations = Configurations(sweep)
    return Study(sweep, configurations, read_trials(sweep, configurations, rows))


def bowl(*names: str, **space: Any) -> list[dict[str, Any]]:
    return [{"name": name, "space": space} for name in names or ("bowl",)]


def answer(sweep: Sweep, study: Study, trial: Trial, **keys: Any) -> Trial:
    """Ends a trial with the rows of running it, and returns it."""
    place = [space.label for space in sweep.spaces].index(trial.label)
    for row in rows_of(sweep, splitter=place, **keys, **trial.configuration.values):
        study.add_row(trial.key, row)
    study.tell(trial.key)
    return study.trials.by_key[trial.key]


def run_all(sweep: Sweep, study: Study, **keys: Any) -> list[Trial]:
    trials: list[Trial] = []
    while (trial := study.ask()) is not None:
        trials.append(answer(sweep, study, trial, at=10.0 * len(trials), **keys))
    return trials


def optuna_trials(study: Study, label: str = "bowl") -> list[Any]:
    return study.splitters[label].optuna.get_trials()


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", {"name": "gp", "startup": 4}])
def test_every_sampler_proposes_as_many_different_trials_as_are_wanted(make_bowls: MakeSweep, sampler: object) -> None:
    sweep = make_bowls(trials=7, sampler=sampler, constraints=["accuracy_loss <= 0.9"])
    trials = run_all(sweep, study_of(sweep))
    assert len({trial.key for trial in trials}) == 7
    assert trials[0].configuration.values == {"x": 0.5, "y": 0.2}, "the default comes first"
    assert [trial.number for trial in trials] == list(range(7))


def test_splitters_take_turns_and_unfinished_trials_come_before_new_ones(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=6, splitters=bowl("bowl", "dish", x={"float": [0, 1]}))
    study = study_of(sweep, [*rows_of(sweep, x=0.1), rows_of(sweep, x=0.9, at=5)[0]])
    assert study.n_left == 5
    trials = run_all(sweep, study)
    assert trials[0].configuration.values == {"x": 0.9}
    assert Counter(trial.label for trial in study.trials.finished) == {"bowl": 3, "dish": 3}


@pytest.mark.parametrize("kind", ["DataError", "worker_died"])
def test_a_trial_that_a_machine_failed_keeps_its_place_and_is_finished_at_the_next_start(
    make_bowls: MakeSweep, kind: str
) -> None:
    sweep = make_bowls(trials=5, sampler="random")
    trials = run_all(sweep, study_of(sweep), state=State.FAILED, kind=kind)
    assert len({trial.key for trial in trials}) == len(trials) == 5
    again = run_all(sweep, study_of(sweep, [row for trial in trials for row in trial.rows.values()]))
    assert {trial.key for trial in again} == {trial.key for trial in trials}
    assert all(trial.is_finished for trial in again)


def test_a_small_space_is_tried_point_by_point_and_ends_early(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=20, sampler="tpe", splitters=bowl(**SMALL))
    assert len({trial.key for trial in run_all(sweep, study_of(sweep))}) == 6


def test_a_grid_is_tried_in_order_after_the_default(make_bowls: MakeSweep) -> None:
    space = {"x": {"float": [0, 0.5], "step": 0.25}, "y": [0.2, 0.3]}
    sweep = make_bowls(trials=6, sampler="grid", splitters=bowl(**space))
    values = [tuple(trial.configuration.values.values()) for trial in run_all(sweep, study_of(sweep))]
    assert values == [(0.5, 0.2), (0.0, 0.2), (0.0, 0.3), (0.25, 0.2), (0.25, 0.3), (0.5, 0.3)]


def test_a_grid_of_a_million_points_is_not_built(make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"float": [0, 1], "step": 0.001}
    sweep = make_bowls(trials=3, sampler="grid", splitters=bowl(x=steps, y=steps, n={"int": [1, 1000]}))
    made: list[object] = []
    at = Configurations.at
    monkeypatch.setattr(Configurations, "at", lambda self, *point: (made.append(point), at(self, *point))[1])
    study = study_of(sweep)
    trials = [trial for trial in (study.ask() for _ in range(3)) if trial is not None]
    assert [trial.configuration.values["n"] for trial in trials] == [1, 1, 2]
    assert len(made) == 3


def test_where_the_sampler_finds_nothing_new_the_rest_of_the_space_is_tried(
    make_bowls: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "MAX_DUPLICATES", 0)
    sweep = make_bowls(trials=5, sampler="random", splitters=bowl(**SMALL))
    assert sweep.spaces[0].size == 6
    assert len({trial.key for trial in run_all(sweep, study_of(sweep))}) == 5


def test_a_known_configuration_is_answered_from_rows_and_another_one_proposed(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=4, sampler="tpe", splitters=bowl(n={"int": [1, 5]}))
    study = study_of(sweep)
    assert len({trial.key for trial in run_all(sweep, study)}) == 4
    assert len(optuna_trials(study)) == 4 + study.splitters["bowl"].duplicates
    assert {trial.state for trial in optuna_trials(study)} == {OptunaState.COMPLETE}


def test_two_trials_at_once_are_never_the_same_and_none_is_left_running(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=4, sampler="random", splitters=bowl(n={"int": [1, 9]}))
    study = study_of(sweep)
    trials = [trial for trial in (study.ask() for _ in range(6)) if trial is not None]
    assert len({trial.key for trial in trials}) == len(trials) == 4
    answer(sweep, study, trials[0])
    study.tell_all()
    assert OptunaState.RUNNING not in {trial.state for trial in optuna_trials(study)}


def test_combinations_that_the_splitter_refuses_are_not_run(make_bowls: MakeSweep) -> None:
    space = {"population": {"int": [4, 30]}, "parents": {"int": [2, 30]}}
    splitter = {"name": "cnnsplitter", "settings": {"elites": 2, "parents": 4}, "space": space}
    sweep = make_bowls(trials=8, scenario="modularization", splitters=[splitter], sampler="random")
    study = study_of(sweep)
    points = [trial.configuration.values for trial in (study.ask() for _ in range(8)) if trial is not None]
    assert len(points) == 8
    assert all(values["parents"] <= values["population"] for values in points)
    failed = [trial for trial in optuna_trials(study, "cnnsplitter") if trial.state is OptunaState.FAIL]
    assert len(failed) == study.splitters["cnnsplitter"].refusals.total() > 0


def test_a_value_that_is_no_number_fails_the_trial_and_leaves_nothing_running(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    study = study_of(sweep)
    run_all(sweep, study, state=State.FAILED, kind="not_finite")
    assert {trial.state for trial in optuna_trials(study)} == {OptunaState.FAIL}


def test_constraints_reach_optuna_with_the_trial_and_survive_a_new_start(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(constraints=["accuracy_loss <= 0.75"], trials=4)
    study = study_of(sweep)
    trials = run_all(sweep, study)
    expected = [trial.values["accuracy_loss"].mean - 0.75 for trial in trials]
    assert [trial.constraints["accuracy_loss <= 0.75"] for trial in optuna_trials(study)] == pytest.approx(expected)
    again = study_of(sweep, [row for trial in trials for row in trial.rows.values()])
    assert sorted(trial.constraints["accuracy_loss <= 0.75"] for trial in optuna_trials(again)) == pytest.approx(
        sorted(expected)
    )
    best = {trial.user_attrs["number"] for trial in again.splitters["bowl"].optuna.best_trials}
    assert best <= {trial.number for trial in trials if trial.is_feasible}


def test_a_new_start_rebuilds_the_study_and_proposes_other_trials(make_bowls: MakeSweep) -> None:
    short = make_bowls(trials=3, sampler="tpe")
    first = run_all(short, study_of(short))
    sweep = make_bowls(trials=6, sampler="tpe")
    study = study_of(sweep, [row for trial in first for row in trial.rows.values()])
    assert [trial.params for trial in optuna_trials(study)] == [dict(trial.configuration.values) for trial in first]
    more = run_all(sweep, study)
    assert len(more) == 3
    assert len({trial.key for trial in [*first, *more]}) == 6


def test_trials_that_were_stopped_early_are_pruned_for_optuna(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(trials=1, seeds=1)
    study = study_of(sweep)
    (trial,) = run_all(sweep, study, state=State.INTERRUPTED, kind=STOPPED_EARLY)
    assert [trial.state for trial in optuna_trials(study)] == [OptunaState.PRUNED]
    frozen = new_study("again", sweep.goals)
    frozen.add_trial(frozen_trial(trial))
    assert [trial.state for trial in frozen.get_trials()] == [OptunaState.PRUNED]
