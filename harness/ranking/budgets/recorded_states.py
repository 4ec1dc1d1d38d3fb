"""The states that a splitter recorded on its way, as rows hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row
from harness.ranking.budgets.fronts import Point, Reading, cost_at, front_indices, hypervolume
from harness.ranking.budgets.steps import steps_with

REFERENCE: Point = (1.0, 1.0)
"""The reference point of hypervolumes: all kernels kept, and all accuracy lost, as in sweeps."""


@dataclass(frozen=True)
class RecordedState:
    """A set of modules that a splitter could have returned.

    Args:
        retention: Kernel retention.
        loss: Accuracy loss on select.
        seconds: Seconds from the start of the split; None if not recorded, and if the split shared its GPU, since such
            times do not compare.
    """

    retention: float
    loss: float
    seconds: float | None

    @property
    def point(self) -> Point:
        """Retention and loss."""
        return self.retention, self.loss


def recorded_states(row: Row) -> list[RecordedState]:
    """Return the states of a row's split, in the order of their steps, its result last.

    Losses are on the select images that the splitter saw, since nothing else is known of states that were not chosen.
    A splitter without steps, such as a baseline, has its result alone; a row without losses on select has nothing.
    """
    return next(states_of(Rows.of([row])))


def states_of(rows: Rows) -> Iterator[list[RecordedState]]:
    """Yield the ``recorded_states`` of each row."""
    steps = steps_with(rows, "kernel_retention", "accuracy", optional=("seconds",))
    ends = np.cumsum(steps.count(len(rows))).tolist()
    names = ("select_base_accuracy", "kernel_retention", "select_accuracy_loss", "split_seconds", "gpu_share")
    columns = zip([0, *ends], ends, *map(rows.values, names), strict=False)
    for begin, end, base, retention, loss, seconds, share in columns:
        has_times = not 0 < share < 1
        if base is None:
            yield []
            continue
        reported = (steps.values[name][begin:end].tolist() for name in ("kernel_retention", "accuracy", "seconds"))
        states = [
            RecordedState(kept, base - accuracy, reached if has_times and not math.isnan(reached) else None)
            for kept, accuracy, reached in zip(*reported, strict=True)
        ]
        if retention is not None and loss is not None:
            states.append(RecordedState(retention, loss, seconds if has_times else None))
        yield states


def n_states(rows: Rows) -> Int[NDArray[np.int64], " row"]:
    """Return the number of ``recorded_states`` of each row."""
    n_steps = steps_with(rows, "kernel_retention", "accuracy").count(len(rows))
    has_result = ~np.isnan(rows.numbers("kernel_retention")) & ~np.isnan(rows.numbers("select_accuracy_loss"))
    return np.where(np.isnan(rows.numbers("select_base_accuracy")), 0, n_steps + has_result)


def front_of(states: Sequence[RecordedState]) -> list[RecordedState]:
    """Return the states that no other one dominates in kernels and loss, the fewest kernels first; equal ones once."""
    points = [state.point for state in states]
    best = {points[index]: states[index] for index in reversed(front_indices(points))}
    return [best[point] for point in sorted(best)]


def loss_at(states: Sequence[RecordedState], retention: float) -> Reading | None:
    """Return the lowest loss with at most a share of the kernels; None if no state has so few."""
    return cost_at([state.point for state in states], retention)


def retention_at(states: Sequence[RecordedState], loss: float) -> Reading | None:
    """Return the lowest retention with at most a loss; None if no state has so small a loss."""
    return cost_at([(state.loss, state.retention) for state in states], loss)


def states_by(states: Iterable[RecordedState], seconds: float) -> list[RecordedState]:
    """Return the states that were reached within some seconds."""
    return [state for state in states if state.seconds is not None and state.seconds <= seconds]


def covered(states: Iterable[RecordedState]) -> float:
    """Return the hypervolume of states: the share of all pairs of retention and loss that one of them dominates."""
    return hypervolume([state.point for state in states], REFERENCE)


def anytime(states: Iterable[RecordedState]) -> list[tuple[float, float]]:
    """Return the hypervolume over time, as (seconds, hypervolume from then on) for each state that raises it.

    Source: the anytime performance of multi-objective optimisers, as in Lopez-Ibanez and Stuetzle, *Automatically
    Improving the Anytime Behaviour of Optimisation Algorithms*, EJOR 235, 2014.
    """
    timed = sorted((state for state in states if state.seconds is not None), key=lambda state: state.seconds or 0.0)
    curve: list[tuple[float, float]] = []
    for count, state in enumerate(timed, start=1):
        volume = covered(timed[:count])
        if volume > (curve[-1][1] if curve else 0.0):
            curve.append((state.seconds or 0.0, volume))
    return curve
