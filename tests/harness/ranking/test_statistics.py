from __future__ import annotations

import math

import pytest
from scipy import stats

from harness.ranking.statistics import Estimate, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 49, 100])
def test_quantiles_are_students(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_an_estimate_is_mean_and_half_a_t_interval() -> None:
    estimate = Estimate.of([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.half_width == pytest.approx(4.302652729749 / math.sqrt(3))


def test_a_single_value_has_no_interval_and_counts_as_a_point() -> None:
    single = Estimate.of([2.0])
    assert single.half_width is None
    assert single.overlaps(Estimate(2.5, 0.5))
    assert not single.overlaps(Estimate(2.5, 0.4))
    assert not single.overlaps(Estimate(2.1, None))
