"""How much each searched setting matters to each objective: Optuna's importances, of each splitter for itself."""

from __future__ import annotations

import warnings

import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial

from harness.sweep.results import SweepResults
from harness.sweep.study import frozen_trial, new_study, quiet
from harness.sweep.trials import TrialState

_FEWEST = 4
"""With fewer trials there is nothing to say."""

Importances = dict[str, dict[str, dict[str, float]]]
"""By splitter, objective and setting: shares of the objective's variance, which add up to 1."""


def importances(results: SweepResults) -> Importances:
    """Returns what matters, of the splitters that have trials enough.

    Settings that are searched under a condition only are left out: Optuna compares what all trials have.
    """
    found: Importances = {}
    for space in results.sweep.spaces:
        own = [trial for trial in results.book.complete if trial.candidate.space.label == space.label]
        if len(own) < _FEWEST or not space.parameters:
            continue
        with quiet():
            study = new_study(space.label, results.sweep.goals)
            study.add_trials([frozen_trial(trial) for trial in own if trial.state is TrialState.COMPLETE])
            found[space.label] = {
                goal.name: _of_objective(study, index) for index, goal in enumerate(results.sweep.goals)
            }
    return found


def _of_objective(study: optuna.Study, index: int) -> dict[str, float]:
    def value(trial: FrozenTrial) -> float:
        return float(trial.values[index])

    if len({value(trial) for trial in study.get_trials(deepcopy=False)}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, target=value))
