from __future__ import annotations

import pytest
from toys import toy_item, toy_row

from benchmarks.rows.row import State
from harness.planning.plan import Status, make_plan
from splitters.errors import UnknownNameError


def status_after(state: State, kind: str | None = None, retry: tuple[str, ...] = ()) -> Status:
    plan = make_plan([toy_item()], [toy_row(state=state, kind=kind)], retry=retry)
    return plan.cells[0].status


@pytest.mark.parametrize(
    ("state", "kind", "status"),
    [
        (State.OK, None, Status.DONE),
        (State.SKIPPED, None, Status.DONE),
        (State.INTERRUPTED, None, Status.TO_DO),
        (State.TIMEOUT, None, Status.TO_DO),
        (State.OUT_OF_MEMORY, "MemoryError", Status.TO_DO),
        (State.FAILED, "worker_died", Status.TO_DO),
        (State.FAILED, "DataError", Status.TO_DO),
        (State.FAILED, "SplitFailedError", Status.FAILED),
        (State.FAILED, "not_finite", Status.FAILED),
    ],
)
def test_what_ran_before_decides_whether_a_cell_runs(state: State, kind: str | None, status: Status) -> None:
    assert status_after(state, kind) is status


@pytest.mark.parametrize("retry", ["failed", "SplitFailedError"])
def test_a_methods_own_failure_is_tried_again_when_asked(retry: str) -> None:
    assert status_after(State.FAILED, "SplitFailedError", retry=(retry,)) is Status.TO_DO


def test_a_finished_cell_is_never_run_again() -> None:
    plan = make_plan([toy_item(seed=0), toy_item(seed=1)], [toy_row(seed=0)], retry=["failed"])
    assert [planned.status for planned in plan.cells] == [Status.DONE, Status.TO_DO]


def test_an_unknown_kind_to_retry_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"--retry: .* failure kind 'faild'. Did you mean 'failed'"):
        make_plan([toy_item()], [], retry=["faild"])


def test_time_comes_from_rows_of_the_same_splitter_model_and_data_set() -> None:
    rows = [
        toy_row(seed=0, seconds=2.0),
        toy_row(seed=1, seconds=4.0),
        toy_row(seed=2, seconds=99.0, state=State.FAILED),
    ]
    plan = make_plan([toy_item(seed=7, loss=0.5), toy_item(splitter="other")], rows)
    assert [planned.seconds for planned in plan.cells] == [3.0, None]
    assert plan.seconds == 3.0
    assert plan.without_history == 1


def test_unknown_and_long_cells_begin_first_and_those_that_wait_for_others_last() -> None:
    rows = [toy_row(seconds=1.0, seed=8), toy_row(splitter="other", seconds=5.0, seed=8)]
    unknown = toy_item().cell.model_copy(update={"scenario": "elsewhere"})
    items = [
        toy_item(splitter="other", like={"name": "toy"}),
        toy_item(),
        toy_item(splitter="other"),
        type(toy_item())(unknown),
    ]
    queue = make_plan(items, rows).queue()
    assert queue == [items[3], items[2], items[1], items[0]]
