"""The estimate of the time that the rest of a run takes."""

from __future__ import annotations

import pytest
from toys import toy_item, toy_row

from benchmarks.rows.row import State
from harness.faults import WORKER_DIED
from harness.runs.time_left import TimeLeft


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


KIND = toy_item(seed=0).kind


def test_nothing_is_estimated_before_any_cell_has_ended_without_history() -> None:
    left = TimeLeft([toy_item(seed=0)])
    assert left.seconds() is None
    left.started(toy_item(seed=0))
    left.finished(toy_row(seed=0))
    assert left.seconds() == 0.0


def test_history_counts_until_the_run_has_cells_of_its_own() -> None:
    clock = Clock()
    left = TimeLeft([toy_item(seed=seed) for seed in range(3)], history={KIND: 100.0}, clock=clock)
    assert left.seconds() == 300.0
    left.started(toy_item(seed=0))
    clock.now = 40.0
    assert left.seconds() == 260.0
    left.finished(toy_row(seed=0).model_copy(update={"seconds": 50.0}))
    assert left.seconds() == 100.0


def test_cells_share_the_time_with_those_that_run_at_once_but_none_ends_before_its_own() -> None:
    clock = Clock()
    left = TimeLeft([toy_item(seed=seed) for seed in range(4)], history={KIND: 10.0}, clock=clock)
    left.started(toy_item(seed=0))
    left.started(toy_item(seed=1))
    assert left.seconds() == 20.0
    left.leave({toy_item(seed=2).cell.cell_id, toy_item(seed=3).cell.cell_id})
    clock.now = 4.0
    assert left.seconds() == 6.0
    clock.now = 25.0
    assert left.seconds() is None


def test_cells_that_are_not_known_yet_take_the_mean_and_lost_workers_are_no_measure() -> None:
    left = TimeLeft(n_cells=3, history={KIND: 10.0})
    left.started(toy_item(seed=0))
    lost = toy_row(seed=0, state=State.FAILED, kind=WORKER_DIED)
    left.finished(lost.model_copy(update={"seconds": 0.1}))
    assert left.seconds() == pytest.approx(20.0)
