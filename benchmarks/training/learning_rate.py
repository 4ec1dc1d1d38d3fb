"""Learning rates as functions of the step, so that training resumes without scheduler state."""

from __future__ import annotations

import math

from benchmarks.cells import TrainingSpec

# The papers lower the rate at epochs 60 and 120 of 200 (arXiv 2311.04438).
_MILESTONES = (60 / 200, 120 / 200)
_DECAY = 0.1

# torch's and fastai's one-cycle constants.
_WARM_UP = 0.3
_START_DIVISOR = 25.0
_END_DIVISOR = 1e4


def learning_rate(training: TrainingSpec, step: int, *, steps_per_epoch: int) -> float:
    """Return the learning rate of a step.

    ``paper``: the given rate, times 0.1 from 30 % of the epochs on, and again from 60 % on.
    ``one_cycle``: a cosine from 1/25 of the given rate up to it over the first 30 % of the steps, then down to
    1/250,000 of it.

    Args:
        training: The recipe.
        step: The step, counted from 0.
        steps_per_epoch: Steps per epoch.
    """
    if training.recipe == "paper":
        epoch = step // steps_per_epoch
        passed = sum(epoch >= max(1, round(share * training.epochs)) for share in _MILESTONES)
        return training.learning_rate * _DECAY**passed
    total = training.epochs * steps_per_epoch
    start = training.learning_rate / _START_DIVISOR
    peak = max(1.0, _WARM_UP * total - 1)
    if step <= peak:
        return _cosine(start, training.learning_rate, step / peak)
    return _cosine(training.learning_rate, start / _END_DIVISOR, (step - peak) / max(1.0, total - 1 - peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
