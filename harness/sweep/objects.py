"""A study as plain values, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.ranking.statistics import Estimate
from harness.sweep.importances import importances
from harness.sweep.results import SweepResults
from harness.sweep.reuse import Reused
from harness.sweep.trials import Trial


def results_object(results: SweepResults, *, location: str, reused: Sequence[Reused] = ()) -> dict[str, Any]:
    """Returns a study: trials, front, hypervolume, best, importances.

    Args:
        results: The study.
        location: Where its rows are, for commands.
        reused: What it did not have to do again.
    """
    return {
        "sweep": results.sweep.name,
        "study": results.study,
        "results": location,
        "other_studies": list(results.others),
        "objectives": dict(results.sweep.objectives),
        "constraints": [bound.text for bound in results.sweep.bounds],
        "reference": {
            goal.name: goal.cost(corner) for goal, corner in zip(results.sweep.goals, results.reference, strict=True)
        },
        "wanted_trials": results.sweep.trials,
        "trials": [trial_object(results, trial, location) for trial in results.book.trials],
        "front": [trial_object(results, trial, location) for trial in results.front],
        "hypervolume": _volume_object(results),
        "best": {label: trial_object(results, trial, location) for label, trial in results.best.items()},
        "importances": importances(results),
        "reused": [vars(entry) for entry in reused],
    }


def trial_object(results: SweepResults, trial: Trial, location: str) -> dict[str, Any]:
    """Returns a trial: its configuration, its objectives on select, and on test if it was scored there."""
    return {
        "number": trial.number,
        "splitter": trial.candidate.space.splitter,
        "label": trial.candidate.space.label,
        "configuration": dict(trial.candidate.values),
        "settings": dict(trial.candidate.spec.settings),
        "state": trial.state.value,
        "reason": reason(trial),
        "is_default": trial.candidate.spec == trial.candidate.space.base,
        "seeds": trial.seeds,
        "objectives": {
            name: {**_estimate(value), "by_seed": _by_seed(trial, index)}
            for index, (name, value) in enumerate(trial.values.items())
        },
        "constraints": {
            text: {"mean": value.mean, "violation": trial.violations[text]}
            for text, value in trial.bound_values.items()
        },
        "feasible": trial.is_feasible,
        "test": {name: _estimate(value) for name, value in results.test_values(trial).items()},
        "seconds": trial.seconds,
        "cell_ids": [item.cell.cell_id for item in trial.candidate.items],
        "test_cell_ids": [row.cell_id for row in results.test_rows(trial)],
        "rerun": rerun_command(results, trial, location),
    }


def reason(trial: Trial) -> str | None:
    """Returns why a trial is not complete, in one line."""
    if trial.failure is not None:
        return trial.failure
    return next((row.reason for row in trial.rows.values() if row.reason), None)


def rerun_command(results: SweepResults, trial: Trial, location: str) -> str:
    """Returns the command that runs a trial's cells again, those that score on test if there are such rows."""
    scored = [row.cell_id for row in results.test_rows(trial)]
    ids = scored or [item.cell.cell_id for item in trial.candidate.items]
    return f"splitbench rerun {' '.join(cell_id[:_ID_LENGTH] for cell_id in ids)} --results {location}"


_ID_LENGTH = 10


def _estimate(value: Estimate) -> dict[str, float | None]:
    return {"mean": value.mean, "half_width": value.half_width}


def _by_seed(trial: Trial, index: int) -> dict[str, float]:
    goal = trial.goals[index]
    return {str(seed): goal.cost(costs[index]) for seed, costs in trial.seed_costs.items()}


def _volume_object(results: SweepResults) -> dict[str, Any]:
    steps = results.over_time
    began = min((trial.began_at for trial in results.book.trials), default=None)
    return {
        "value": results.hypervolume,
        "default": results.volume(results.defaults),
        "over_time": [
            {
                "trial": trial.number,
                "at": at.isoformat(),
                "seconds": (at - began).total_seconds() if began is not None else 0.0,
                "hypervolume": volume,
            }
            for trial, at, volume in steps
        ],
    }
