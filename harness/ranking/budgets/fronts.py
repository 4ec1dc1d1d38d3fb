"""Pareto fronts: which points no other dominates, what they cover, and values between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, ...]
"""One cost per objective; lower is better in each."""


def dominates(one: Point, other: Point) -> bool:
    """Return whether a point is at least as good in every coordinate and better in one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def front_indices(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other point dominates; equal points are all kept."""
    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the volume that the points dominate, bounded by a reference point.

    Exact, by slicing along the last coordinate: fast enough for tens of points and few objectives.

    Args:
        points: Costs; points that are not below the reference in every coordinate contribute nothing.
        reference: The worst corner that counts.
    """
    inside = [point for point in points if all(a < b for a, b in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in inside)
    heights = sorted({point[-1] for point in inside})
    volume = 0.0
    for low, high in zip(heights, [*heights[1:], reference[-1]], strict=True):
        layer = [point[:-1] for point in inside if point[-1] <= low]
        volume += (high - low) * hypervolume(layer, reference[:-1])
    return volume


_ROUNDING = 1e-9
"""What a difference of two accuracies may be off by; far less than one image."""


@dataclass(frozen=True)
class Reading:
    """A value read off a front.

    Args:
        value: The value.
        is_interpolated: Whether it lies between two points, rather than being that of one.
    """

    value: float
    is_interpolated: bool


def cost_at(points: Sequence[Point], budget: float) -> Reading | None:
    """Return the lowest second cost that points reach at a first cost of at most the budget.

    Between two neighbouring points of the front it is interpolated linearly. Above the highest first cost of the front,
    it is the value of that point: what costs less than the budget is within it. Below the lowest, nothing was reached,
    and nothing is extrapolated.

    Args:
        points: Points with two costs.
        budget: The largest first cost.
    """
    front = sorted({points[index] for index in front_indices(points)})
    within = [point for point in front if point[0] <= budget + _ROUNDING]
    if not within:
        return None
    (low, high_cost), above = within[-1], front[len(within) :]
    if not above or low >= budget - _ROUNDING:
        return Reading(high_cost, is_interpolated=False)
    high, low_cost = above[0]
    return Reading(high_cost + (low_cost - high_cost) * (budget - low) / (high - low), is_interpolated=True)
