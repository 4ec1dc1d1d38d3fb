from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.ranking.paired.comparison import Comparison, holm, holm_where_tested
from harness.ranking.statistics import Estimate


@given(
    st.lists(
        st.tuples(st.floats(0, 1, allow_nan=False), st.floats(0, 1, allow_nan=False)), min_size=3, max_size=12
    ).filter(lambda pairs: np.std([a - b for a, b in pairs]) > 1e-6)
)
def test_the_p_value_is_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    expected = stats.ttest_rel(first, second).pvalue
    assert Comparison(first, second, True).p_value == pytest.approx(expected, abs=1e-6)


def test_two_pairs_are_too_few_to_test() -> None:
    assert Comparison((0.1, 0.2), (0.3, 0.4), True).p_value is None


def test_equal_values_are_not_told_apart() -> None:
    same = Comparison((0.1, 0.2, 0.3), (0.1, 0.2, 0.3), True)
    assert (same.p_value, same.probability_of_superiority) == (1.0, 0.5)


def test_the_better_side_depends_on_the_direction() -> None:
    lower = Comparison((0.1, 0.2, 0.3), (0.2, 0.2, 0.5), higher_is_better=False)
    assert lower.first_is_better
    assert lower.difference.mean == pytest.approx(-0.1)
    assert lower.probability_of_superiority == pytest.approx(2.5 / 3)


def test_holms_adjustment_on_a_worked_example() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_was_not_tested_does_not_count_for_the_correction() -> None:
    assert holm_where_tested([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, *[pytest.approx(0.06)] * 2]


def test_wilcoxons_test_is_scipys_from_six_pairs_on() -> None:
    first, second = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.2, 0.25, 0.28, 0.6, 0.9, 0.61)
    assert Comparison(first, second, True).wilcoxon_p_value == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert Comparison(first[:5], second[:5], True).wilcoxon_p_value is None


def test_a_pair_that_differs_by_rounding_is_a_tie() -> None:
    assert Comparison((0.1 + 0.2,), (0.3,), higher_is_better=True).probability_of_superiority == 0.5


def test_intervals_of_95_percent_hold_the_mean_in_95_of_100_simulations() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for sample in generator.normal(3.0, 2.0, size=(1000, 5)):
        estimate = Estimate.of(sample.tolist())
        assert estimate.half_width is not None
        covered += abs(estimate.mean - 3.0) <= estimate.half_width
    assert 920 <= covered <= 980
