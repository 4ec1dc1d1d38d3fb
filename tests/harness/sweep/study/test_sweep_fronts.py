from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.budgets.fronts import dominates, front_indices, hypervolume
from harness.sweep.tune.schedulers import beats

UNIT = st.integers(min_value=0, max_value=10).map(lambda value: value / 10)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[UNIT] * n), min_size=1, max_size=8)))
def test_the_hypervolume_is_that_of_optuna(points: list[tuple[float, ...]]) -> None:
    wfg = pytest.importorskip("optuna._hypervolume")
    reference = (0.9,) * len(points[0])
    inside = np.array([point for point in points if all(value < 0.9 for value in point)]).reshape(-1, len(reference))
    expected = wfg.compute_hypervolume(inside, np.array(reference)) if len(inside) else 0.0
    assert hypervolume(points, reference) == pytest.approx(expected)


def test_the_hypervolume_of_two_points_counts_what_both_cover_once() -> None:
    assert hypervolume([(0.2, 0.6), (0.5, 0.1)], (1.0, 1.0)) == pytest.approx(0.8 * 0.4 + 0.5 * 0.9 - 0.5 * 0.4)


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=12))
def test_the_front_is_what_nothing_dominates_and_covers_all(points: list[tuple[float, float]]) -> None:
    front = [points[index] for index in front_indices(points)]
    assert front
    assert not any(dominates(one, other) for one in points for other in front)
    assert all(any(one == point or dominates(one, point) for one in front) for point in points)
    assert hypervolume(front, (1.0, 1.0)) == pytest.approx(hypervolume(points, (1.0, 1.0)))


BASE = {0: (0.10, 0.40), 1: (0.12, 0.42), 2: (0.09, 0.41)}


def shifted(by: tuple[float, float], *, seeds: int = 2, spread: float = 0.0) -> dict[int, tuple[float, float]]:
    return {s: (BASE[s][0] + by[0] + spread * s, BASE[s][1] + by[1] + spread * s) for s in range(seeds)}


@pytest.mark.parametrize(
    ("candidate", "beaten"),
    [
        (shifted((0.1, 0.1)), True),
        (shifted((0.1, -0.1)), False),
        (shifted((-0.1, -0.1)), False),
        (shifted((0.0, 0.0)), False),
        (shifted((0.1, 0.1), spread=0.5), False),
        (shifted((0.1, 0.1), seeds=1), False),
    ],
    ids=["worse in all", "better in one", "better", "equal", "worse with a wide spread", "one seed tells nothing"],
)
def test_a_configuration_is_beaten_by_one_that_is_better_in_all_beyond_chance(
    candidate: dict[int, tuple[float, float]], beaten: bool
) -> None:
    assert beats(BASE, candidate, confidence=0.95) is beaten


def test_the_race_needs_one_rival_that_is_better_in_all_not_one_for_each_objective() -> None:
    fast = {seed: (a - 0.1, b + 0.2) for seed, (a, b) in BASE.items()}
    small = {seed: (a + 0.2, b - 0.1) for seed, (a, b) in BASE.items()}
    assert not beats(fast, BASE, confidence=0.95)
    assert not beats(small, BASE, confidence=0.95)
