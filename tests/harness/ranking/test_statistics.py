from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.ranking.statistics import Estimate, paired_t_p_value, paired_t_p_values, t_quantile, wilcoxon_p_value


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 49, 100])
@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.95, 0.9999, 1 - 1e-9])
def test_quantiles_are_students(freedom: int, confidence: float) -> None:
    assert t_quantile(freedom, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom), rel=1e-6)


def test_the_quantile_of_one_degree_of_freedom_is_cauchys_at_any_confidence() -> None:
    assert t_quantile(1, 0.9999) == pytest.approx(math.tan(math.pi * 0.9999 / 2))  # 6366.2
    assert t_quantile(1) == pytest.approx(12.7062047362)


def test_an_estimate_is_mean_and_half_a_t_interval() -> None:
    estimate = Estimate.of([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.half_width == pytest.approx(4.302652729749 / math.sqrt(3))


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert Estimate.of([0.5, 0.5]) == Estimate(0.5, 0.0)


def test_a_single_value_has_no_interval() -> None:
    assert Estimate.of([2.0]) == Estimate(2.0, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.30, 0.34], [0.10, 0.11]),
        ([0.30, 0.34, 0.29], [0.31, 0.30, 0.28]),
        ([1.0, 2.0, 3.0, 9.0], [4.0, 4.5, 5.0, 5.5]),
    ],
)
def test_the_paired_test_is_scipys(first: list[float], second: list[float]) -> None:
    expected = stats.ttest_rel(first, second, alternative="greater").pvalue
    assert paired_t_p_value(first, second) == pytest.approx(expected, rel=1e-9)
    assert paired_t_p_value(second, first) == pytest.approx(1 - expected, rel=1e-9)


def test_tests_of_several_samples_at_once_are_the_same_and_skip_what_is_missing() -> None:
    first = np.array([0.30, 0.34, 0.29, 0.5])
    others = np.array(
        [[0.31, 0.30, 0.28, 0.1], [0.30, 0.34, 0.29, 0.5], [0.2, 0.24, 0.19, 0.4], [0.31, np.nan, 0.2, 0.7]]
    )
    found = paired_t_p_values(first, others)
    for other, p_value in zip(others, found, strict=True):
        pairs = ~np.isnan(other)
        one_sided = paired_t_p_value(first[pairs].tolist(), other[pairs].tolist())
        assert p_value == pytest.approx(2 * min(one_sided, 1 - one_sided), rel=1e-9)
    assert found[1] == 1.0


def test_the_paired_test_of_two_pairs_is_an_angle() -> None:
    # Differences 1 and 3: t = 2 with one degree of freedom, and a Cauchy tail of 1/2 - atan(2) / pi.
    assert paired_t_p_value([2.0, 5.0], [1.0, 2.0]) == pytest.approx(0.5 - math.atan(2) / math.pi)


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        ([0.5, 0.75], [0.25, 0.5], 0.0),
        ([0.25, 0.5], [0.5, 0.75], 1.0),
        ([0.25, 0.5], [0.25, 0.5], 0.5),
        ([0.1 + 0.2, 0.6], [0.3, 0.1 + 0.5], 0.5),
    ],
)
def test_without_variance_the_sign_decides_and_ties_decide_nothing(
    first: list[float], second: list[float], p_value: float
) -> None:
    assert paired_t_p_value(first, second) == p_value


@pytest.mark.parametrize(("first", "second"), [([1.0], [0.0]), ([1.0, 2.0], [0.0])])
def test_the_paired_test_needs_two_pairs(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"two pairs|shorter"):
        paired_t_p_value(first, second)


def test_an_infinite_difference_has_the_highest_signed_rank() -> None:
    # Ranks 1 to 6, all of one sign but the infinite one: W = 6, and 28 of the 64 signs have a sum of at most that.
    assert wilcoxon_p_value([0.1, 0.2, 0.3, 0.4, 0.5, -math.inf]) == pytest.approx(28 / 64)
    assert wilcoxon_p_value([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == pytest.approx(2 / 64)


def test_without_any_difference_wilcoxons_test_finds_none() -> None:
    assert wilcoxon_p_value([0.0] * 6) == 1.0
