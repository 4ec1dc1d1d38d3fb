"""Means and confidence intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Args:
        mean: The mean.
        half_width: Half the width of its 95 % t-interval; None for a single value, which has no interval.
    """

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Returns the estimate from one value per seed; there must be one at least."""
        if len(values) < 2:
            return cls(fmean(values), None)
        return cls(fmean(values), t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values)))

    def overlaps(self, other: Estimate) -> bool:
        """Says whether the two intervals have a point in common; a single value counts as a point."""
        return abs(self.mean - other.mean) <= (self.half_width or 0.0) + (other.half_width or 0.0)


@cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Returns t such that Student's distribution holds ``confidence`` within [-t, t].

    Args:
        freedom: Degrees of freedom, 1 at least.
        confidence: A fraction.
    """
    low, high = 0.0, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2


def _t_within(t: float, freedom: int) -> float:
    """Returns the probability of [-t, t]: the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
