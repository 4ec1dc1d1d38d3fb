"""Interquartile means with stratified bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from harness.ranking.statistics import t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_RESAMPLES = 2000

MIN_DEGREES_OF_FREEDOM = 5
"""Runs less cells from which there is an interval; with fewer, it would miss the truth in more than 8 % of cases."""


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval.

    Args:
        value: The statistic of the sample.
        low: Lower end; None if there are too few runs for an interval.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def interquartile_mean(cells: Sequence[Float[NDArray[np.float64], "*resample run"]]) -> NDArray[np.float64]:
    """Return the mean of the middle half of all runs of all cells.

    Source: Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical Precipice*, NeurIPS 2021,
    section 4.3; as in their library rliable, a quarter of the values, rounded down, is cut off at both ends.
    """
    runs = np.sort(np.concatenate(cells, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(axis=-1))


def bootstrap_iqm(
    cells: Sequence[Float[NDArray[np.float64], " run"]], *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Interval:
    """Return the interquartile mean with its stratified bootstrap interval.

    Runs are drawn with replacement within their cells (Agarwal et al., 2021, section 4.2). With few runs per cell, the
    plain percentile interval is too narrow: in simulations with three runs it held the truth in 85 % of cases. Its
    percentiles are therefore moved outwards to make up for resamples that vary by (n - 1) / n of the sample's variance,
    and for the tails of Student's t: the expanded percentile interval of Hesterberg, *What Teachers Should Know about
    the Bootstrap*, The American Statistician 69, 2015, with the degrees of freedom of all cells together.

    Args:
        cells: The runs of each cell; at least one cell, and one run in each.
        n_resamples: Number of resamples.
        seed: Of the random numbers: the same values always have the same interval.
    """
    value = float(interquartile_mean(cells))
    n_runs = sum(len(cell) for cell in cells)
    freedom = n_runs - len(cells)
    if min(len(cell) for cell in cells) < 2 or freedom < MIN_DEGREES_OF_FREEDOM:
        return Interval(value)
    generator = np.random.default_rng(seed)
    resampled = [cell[generator.integers(len(cell), size=(n_resamples, len(cell)))] for cell in cells]
    quantile = math.sqrt(n_runs / freedom) * t_quantile(freedom)
    tail = math.erfc(quantile / math.sqrt(2)) / 2
    low, high = np.quantile(interquartile_mean(resampled), [tail, 1 - tail])
    return Interval(value, float(low), float(high))
