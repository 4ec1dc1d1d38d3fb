"""Means with t-intervals, and paired tests: Student's t and Wilcoxon's signed ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

CONFIDENCE = 0.95

_ROUNDING = 1e-12
"""Relative difference below which two measurements are equal but for rounding."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval.

    Args:
        mean: The sample mean.
        half_width: Half the width of the 95 % t-interval; None for a single value, which has no interval.
    """

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Return the estimate from at least one value, one per seed (or other subject)."""
        if len(values) < 2:
            return cls(fmean(values), None)
        return cls(fmean(values), t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values)))


@cache
def t_quantile(degrees_of_freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided quantile: the t for which [-t, t] has probability ``confidence``.

    Args:
        degrees_of_freedom: At least 1.
        confidence: Between 0 and 1.
    """
    from scipy import special  # here, because importing it takes a while; scipy.stats, which calls it, takes longer

    return -float(special.stdtrit(degrees_of_freedom, (1 - confidence) / 2))


def paired_t_p_value(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """Return the p-value of the one-sided paired t-test that ``larger`` has the larger mean.

    Pairs that differ by rounding alone count as ties. If all differences are equal, the test's limit for vanishing
    variance is returned, as by ``scipy.stats.ttest_rel``: 0 where they are positive, 1 where they are negative. Where
    all pairs are ties, which scipy leaves undefined, nothing speaks for either side: 0.5.

    Args:
        larger: Values expected to be larger, one per pair.
        smaller: The other values, in the same order; at least two.

    Raises:
        ValueError: If there are fewer than two pairs, or the lengths differ.
    """
    differences = [difference(a, b) for a, b in zip(larger, smaller, strict=True)]
    if len(differences) < 2:
        raise ValueError(f"a paired test needs at least two pairs, not {len(differences)}")
    mean, deviation = fmean(differences), stdev(differences)
    if deviation == 0:
        return 0.5 if mean == 0 else float(mean < 0)
    from scipy import special

    return float(special.stdtr(len(differences) - 1, -mean * math.sqrt(len(differences)) / deviation))


def paired_t_p_values(
    first: Float[NDArray[np.float64], " subject"], others: Float[NDArray[np.float64], "other subject"]
) -> Float[NDArray[np.float64], " other"]:
    """Return the p-values of two-sided paired t-tests of one sample against each of several.

    As twice the smaller tail of ``paired_t_p_value``, but for rounding, and many times as fast.

    Args:
        first: A value per subject; NaN where there is none.
        others: The same for each of the others; all must share two subjects with the first.
    """
    from scipy import special

    differences = first - others
    differences[np.abs(differences) <= _ROUNDING * np.maximum(np.abs(first), np.abs(others))] = 0.0
    n = (~np.isnan(differences)).sum(axis=1)
    mean, deviation = np.nanmean(differences, axis=1), np.nanstd(differences, axis=1, ddof=1)
    all_equal = np.nanmax(differences, axis=1) == np.nanmin(differences, axis=1)
    statistic = np.abs(mean) * np.sqrt(n) / np.where(all_equal, 1.0, deviation)
    equal_p_values = np.where(mean == 0, 1.0, 0.0)
    return np.asarray(np.where(all_equal, equal_p_values, np.minimum(1.0, 2 * special.stdtr(n - 1, -statistic))))


def wilcoxon_p_value(differences: Sequence[float]) -> float:
    """Return the p-value of Wilcoxon's two-sided signed-rank test.

    Source: Demsar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 7, 2006, section 3.1.3; it
    assumes neither a normal distribution nor differences of a common scale. As in ``scipy.stats.wilcoxon``, pairs
    without a difference are dropped, and up to 50 distinct differences are tested exactly.

    Args:
        differences: One per pair; infinite ones rank behind all others.
    """
    nonzero = [value for value in differences if value]
    if not nonzero:
        return 1.0
    from scipy import stats

    largest = max((abs(value) for value in nonzero if math.isfinite(value)), default=0.0)
    finite = [value if math.isfinite(value) else math.copysign(2 * largest + 1, value) for value in nonzero]
    return float(stats.wilcoxon(finite).pvalue)


def difference(a: float, b: float) -> float:
    """Return a minus b; 0 where they differ by rounding alone."""
    return 0.0 if math.isclose(a, b, rel_tol=_ROUNDING) else a - b
