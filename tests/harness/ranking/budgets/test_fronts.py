from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.budgets.fronts import Reading, cost_at

POINTS = [(0.2, 0.9), (0.4, 0.5), (0.8, 0.1), (0.6, 0.7)]
"""The last one is dominated by the second one."""


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0.1, None),
        (0.2, Reading(0.9, False)),
        (0.3, Reading(0.7, True)),
        (0.4, Reading(0.5, False)),
        (0.6, Reading(0.3, True)),
        (0.8, Reading(0.1, False)),
        (1.0, Reading(0.1, False)),
    ],
)
def test_costs_between_points_of_the_front_are_interpolated_and_none_is_extrapolated(
    budget: float, expected: Reading | None
) -> None:
    found = cost_at(POINTS, budget)
    if found is None or expected is None:
        assert found == expected
    else:
        assert (found.value, found.is_interpolated) == (pytest.approx(expected.value), expected.is_interpolated)


def test_a_budget_that_is_met_but_for_rounding_is_met() -> None:
    assert cost_at([(0.9 - 0.89, 0.4)], 0.01) == Reading(0.4, False)


UNIT = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=8), st.lists(UNIT, min_size=2, max_size=2).map(sorted))
def test_more_budget_never_costs_more(points: list[tuple[float, float]], budgets: list[float]) -> None:
    less, more = (cost_at(points, budget) for budget in budgets)
    if less is not None:
        assert more is not None
        assert more.value <= less.value + 1e-9


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=8, unique_by=lambda point: point[0]), UNIT)
def test_values_are_those_of_numpys_interpolation_over_the_front(
    points: list[tuple[float, float]], budget: float
) -> None:
    front = sorted(p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points))
    if budget > front[0][0] + 1e-6 and all(abs(budget - point[0]) > 1e-6 for point in front):
        found = cost_at(points, budget)
        assert found is not None
        assert found.value == pytest.approx(np.interp(budget, *zip(*front, strict=True)), abs=1e-9)
