from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.ranking.over_cells.bootstrap import bootstrap_iqm, interquartile_mean


@pytest.mark.parametrize("n_runs", [1, 3, 4, 7, 16])
def test_the_interquartile_mean_is_scipys_trimmed_mean(n_runs: int) -> None:
    cells = list(np.random.default_rng(n_runs).normal(size=(3, n_runs)))
    assert interquartile_mean(cells) == pytest.approx(stats.trim_mean(np.concatenate(cells), 0.25))


def test_an_outlier_among_four_runs_does_not_count() -> None:
    assert interquartile_mean([np.array([1.0, 90.0]), np.array([3.0, 2.0])]) == 2.5


def test_runs_are_drawn_within_their_cells() -> None:
    # Whatever is drawn, four runs of each cell remain: the middle half is two of each.
    interval = bootstrap_iqm([np.full(4, 0.0), np.full(4, 1.0)])
    assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


def test_the_same_values_have_the_same_interval() -> None:
    values = np.arange(8.0)
    assert bootstrap_iqm([values]) == bootstrap_iqm([values])
    assert bootstrap_iqm([values]) != bootstrap_iqm([values], seed=1)


@pytest.mark.parametrize(
    ("cells", "has_interval"),
    [
        ([[0.0, 1.0, 2.0, 3.0, 4.0]], False),
        ([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]], True),
        ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], False),
        ([[float(n)] for n in range(20)], False),
        ([[0.0, 1.0]] * 4 + [[2.0]] * 9, False),
    ],
    ids=["5 runs", "6 runs", "2 cells of 3", "one seed each", "one seed in some cells"],
)
def test_too_few_runs_have_no_interval(cells: list[list[float]], has_interval: bool) -> None:
    assert (bootstrap_iqm([np.array(cell) for cell in cells]).low is not None) == has_interval


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize("skewed", [False, True], ids=["normal", "exponential"])
def test_intervals_of_95_percent_hold_the_truth_in_95_of_100_simulations(n_seeds: int, skewed: bool) -> None:
    generator = np.random.default_rng(0)
    means = np.linspace(0, 1, 4)[:, None]

    def simulate(n: int) -> NDArray[np.float64]:
        size = (n, 4, n_seeds)
        return means + (generator.exponential(size=size) if skewed else generator.normal(size=size))

    truth = interquartile_mean(list(simulate(20_000).transpose(1, 0, 2))).mean()
    covered = 0
    for cells in simulate(1000):
        interval = bootstrap_iqm(list(cells), n_resamples=300)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= truth <= interval.high
    assert 920 <= covered <= 980
