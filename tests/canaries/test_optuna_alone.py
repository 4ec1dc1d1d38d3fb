"""What Optuna does, where the harness relies on it or works around it."""

from __future__ import annotations

import math
import warnings

import optuna
import pytest
from optuna.trial import TrialState


@pytest.fixture
def two_objectives() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=["minimize", "minimize"])


def test_a_trial_that_is_told_nan_fails_without_a_state_and_keeps_running_with_one(
    two_objectives: optuna.Study,
) -> None:
    with pytest.warns(UserWarning, match="not acceptable"):
        two_objectives.tell(two_objectives.ask(), [math.nan, 0.1])
    with pytest.raises(ValueError, match="not acceptable"):
        two_objectives.tell(two_objectives.ask(), [math.nan, 0.1], state=TrialState.COMPLETE)
    assert [trial.state for trial in two_objectives.get_trials()] == [TrialState.FAIL, TrialState.RUNNING]


def test_constraints_that_are_set_before_the_trial_ends_decide_who_is_best(two_objectives: optuna.Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for violation in (1.0, -1.0):
            trial = two_objectives.ask()
            trial.set_constraint("c", violation)
            two_objectives.tell(trial, [0.1, 0.1])
        assert [trial.number for trial in two_objectives.best_trials] == [1]


def test_an_enqueued_trial_is_the_next_one_and_has_its_values(two_objectives: optuna.Study) -> None:
    two_objectives.enqueue_trial({"x": 0.25})
    assert two_objectives.ask().suggest_float("x", 0, 1) == 0.25
