"""Mean ranks over cells, Friedman's test, and Nemenyi's critical difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from harness.ranking.paired.comparison import SIGNIFICANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_METHODS = 3
"""Friedman's test needs three methods; two are compared by a paired test."""

_DIGITS = 12
"""Values are compared to this many decimal places, since differences beyond are rounding errors."""

MIN_CELLS = 2
"""Ranks in a single cell have no variance to compare with."""


@dataclass(frozen=True)
class FriedmanTest:
    """Whether methods differ in their ranks over cells, and by how much two of them must.

    Args:
        statistic: Friedman's chi-squared, corrected for ties.
        p_value: Its p-value, from the chi-squared distribution with one degree of freedom less than methods.
        critical_difference: The difference of mean ranks from which two methods differ, after Nemenyi.
    """

    statistic: float
    p_value: float
    critical_difference: float

    @property
    def is_significant(self) -> bool:
        """Whether the methods differ at all; if not, no pair of them differs significantly."""
        return self.p_value < SIGNIFICANCE


def cell_ranks(
    values: Float[NDArray[np.float64], "cell method"], *, higher_is_better: bool
) -> Float[NDArray[np.float64], "cell method"]:
    """Return the rank of each method in each cell: 1 is the best, ties get the mean of their ranks.

    Args:
        values: A value per cell and method; NaN is a failure, and ranks behind every value.
        higher_is_better: Whether larger values are better.
    """
    from scipy import stats  # here, because importing it takes half a second

    costs = np.where(np.isnan(values), np.inf, -values if higher_is_better else values)
    return np.asarray(stats.rankdata(costs.round(_DIGITS), axis=1), dtype=np.float64)


def friedman_test(ranks: Float[NDArray[np.float64], "cell method"]) -> FriedmanTest | None:
    """Return Friedman's test on ranks; None with fewer than ``MIN_METHODS`` methods or ``MIN_CELLS`` cells.

    Source: Demsar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 7, 2006, section 3.2.2, with
    the usual correction for ties, as in ``scipy.stats.friedmanchisquare``. Methods that tie everywhere do not differ.
    """
    n_cells, n_methods = ranks.shape
    if n_methods < MIN_METHODS or n_cells < MIN_CELLS:
        return None
    from scipy import stats

    # Between methods over within cells: without ties, the variance of ranks within a cell is k (k + 1) / 12.
    between = n_cells * float(np.square(ranks.mean(axis=0) - (n_methods + 1) / 2).sum())
    within = float(ranks.var(axis=1, ddof=1).mean())
    statistic = between / within if within else 0.0
    return FriedmanTest(
        statistic, float(stats.chi2.sf(statistic, n_methods - 1)), critical_difference(n_methods, n_cells)
    )


@cache
def critical_difference(n_methods: int, n_cells: int, significance: float = SIGNIFICANCE) -> float:
    """Return the difference of mean ranks from which two methods differ: q sqrt(k (k + 1) / 6 N).

    Source: Nemenyi, *Distribution-free Multiple Comparisons*, 1963, in the form of Demsar, 2006, section 3.2.2; q is
    the quantile of the studentised range with infinite degrees of freedom, divided by the square root of 2.

    Args:
        n_methods: Number of methods, k.
        n_cells: Number of cells, N.
        significance: The family-wise error rate.
    """
    from scipy import stats

    quantile = float(stats.studentized_range.ppf(1 - significance, n_methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_cells))


def cliques(mean_ranks: Float[NDArray[np.float64], " method"], test: FriedmanTest) -> list[tuple[int, ...]]:
    """Return the largest groups of methods without a significant difference, as indices, the best first.

    These are the bars of a critical difference diagram (Demsar, 2006, figure 1). If Friedman's test finds no
    difference, all methods are one group.
    """
    order = [int(index) for index in np.argsort(mean_ranks, kind="stable")]
    if not test.is_significant:
        return [tuple(order)]
    groups: list[tuple[int, ...]] = []
    for start, best in enumerate(order):
        group = tuple(i for i in order[start:] if mean_ranks[i] - mean_ranks[best] < test.critical_difference)
        if not groups or not set(group) <= set(groups[-1]):
            groups.append(group)
    return groups
