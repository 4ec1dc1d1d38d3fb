from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.ranking.over_cells.friedman import FriedmanTest, cell_ranks, cliques, critical_difference, friedman_test

NAN = math.nan


def test_failures_rank_behind_every_value_and_ties_share_the_mean_of_their_ranks() -> None:
    values = np.array([[0.3, 0.1, NAN, 0.1], [NAN, 5.0, NAN, 4.0]])
    assert cell_ranks(values, higher_is_better=False).tolist() == [[3, 1.5, 4, 1.5], [3.5, 2, 3.5, 1]]
    assert cell_ranks(values, higher_is_better=True).tolist() == [[1, 2.5, 4, 2.5], [3.5, 1, 3.5, 2]]


@pytest.mark.parametrize("digits", [8, 1], ids=["distinct", "with ties"])
@pytest.mark.parametrize(("n_cells", "n_methods"), [(2, 3), (5, 4), (12, 6)])
def test_the_test_is_scipys(n_cells: int, n_methods: int, digits: int) -> None:
    values = np.random.default_rng(n_cells).random((n_cells, n_methods)).round(digits)
    found = friedman_test(cell_ranks(values, higher_is_better=False))
    expected = stats.friedmanchisquare(*values.T)
    assert found is not None
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_methods_that_tie_everywhere_do_not_differ() -> None:
    found = friedman_test(np.full((4, 3), 2.0))
    assert found is not None
    assert (found.statistic, found.p_value) == (0.0, 1.0)


@pytest.mark.parametrize("shape", [(1, 5), (9, 2)], ids=["one cell", "two methods"])
def test_one_cell_or_two_methods_are_not_tested(shape: tuple[int, int]) -> None:
    assert friedman_test(np.ones(shape)) is None


@pytest.mark.parametrize(("n_methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_demsars_table_5(n_methods: int, quantile: float) -> None:
    expected = quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * 14))
    assert critical_difference(n_methods, 14) == pytest.approx(expected, abs=5e-4)


def test_demsars_example_of_four_classifiers_on_fourteen_data_sets() -> None:
    # Section 3.2.2: mean ranks 3.143, 2.000, 2.893, 1.964, and a critical difference of 1.25 at 0.05.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_cliques_are_the_bars_of_a_critical_difference_diagram() -> None:
    separating = FriedmanTest(statistic=9.0, p_value=0.01, critical_difference=1.0)
    assert cliques(np.array([2.5, 1.0, 1.8, 4.0]), separating) == [(1, 2), (2, 0), (3,)]


def test_without_a_significant_friedman_test_all_methods_are_one_clique() -> None:
    assert cliques(np.array([3.0, 1.0, 2.0]), FriedmanTest(3.0, 0.2, 0.5)) == [(1, 2, 0)]
