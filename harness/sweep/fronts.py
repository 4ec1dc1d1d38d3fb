"""Which points are best when there are several objectives: dominance, and the volume that a front covers."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]
"""Costs: in each coordinate, less is better."""


def dominates(one: Point, other: Point) -> bool:
    """Says whether a point is at least as good in every coordinate and better in one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def front_indices(points: Sequence[Point]) -> list[int]:
    """Returns which points no other one dominates, in their order; of equal points, all."""
    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Returns the volume of what the points dominate, up to a reference point.

    Exact, by slices along the last coordinate: fine for the tens of points and the few objectives of a sweep.

    Args:
        points: Costs; those that do not lie below the reference in every coordinate add nothing.
        reference: The corner that is worse than everything that counts.
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
