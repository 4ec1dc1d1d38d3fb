from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray import exceptions
from toys import toy_item, toy_row

from benchmarks.rows.row import Row, State
from harness.execution import Limits
from harness.execution.ray import backend as dispatcher
from harness.execution.ray import cluster, running, scheduling
from harness.execution.ray.capacity import Need, Room
from harness.execution.ray.cluster import Node
from harness.execution.ray.running import Running
from harness.execution.ray.scheduling import Job, Occupied, Scheduler
from harness.suite_cell import SuiteCell

GIGABYTE = 1e9
A, B = (Need(1, 0, GIGABYTE), "a"), (Need(1, 0, GIGABYTE), "b")

Schedule = Callable[..., Scheduler]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, which a test moves."""
    time = SimpleNamespace(now=1000.0)
    time.monotonic = lambda: time.now
    monkeypatch.setattr(scheduling, "time", time)
    monkeypatch.setattr(running, "time", time)
    return time


@pytest.fixture
def schedule(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """Makes a scheduler of cells that request so many gigabytes, on two machines with 4 CPUs and 8 GB each."""
    monkeypatch.setattr(scheduling, "nodes", lambda: [Node(4, 0, 8 * GIGABYTE, name) for name in ("a", "b")])

    def make(*sizes: float, **keys: Any) -> Scheduler:
        items = [toy_item(seed=seed, device="cpu") for seed in range(len(sizes))]
        memory = {item.cell.cell_id: size * GIGABYTE for item, size in zip(items, sizes, strict=True)}
        return Scheduler(items, limits=Limits(), gpu_share=1.0, memory=memory, **keys)

    return make


def started(scheduler: Scheduler, *occupied: Occupied) -> list[int]:
    """Returns the seeds of the cells that start."""
    return [job.item.cell.seed for job, _ in scheduler.take(occupied)]


def test_cells_that_fit_overtake_one_that_requests_more_memory_than_is_free(schedule: Schedule) -> None:
    assert started(schedule(8, 1, 8, 1, 1), A, B) == [1, 3, 4]
    assert started(schedule(8, 1), A) == [0, 1], "machine b is free for it"


def test_a_cell_is_not_overtaken_for_ever(schedule: Schedule, clock: SimpleNamespace) -> None:
    scheduler = schedule(8, *[1] * 8)
    assert started(scheduler, A, A, B) == [1, 2, 3, 4, 5]
    clock.now += 121
    assert started(scheduler, A, A, B) == [6, 7], "machine b, which is closest to being free, is kept for it"
    assert started(scheduler, A, A) == [0, 8]


def test_room_is_kept_for_one_cell_at_a_time(schedule: Schedule, clock: SimpleNamespace) -> None:
    scheduler = schedule(8, 7.5, 1)
    assert started(scheduler, *[A] * 4, *[B] * 4) == []
    assert started(scheduler, A, A, A, A, B, B, B) == [2]
    scheduler = schedule(8, 7.5, 1, 1, 1)
    started(scheduler, *[A] * 3, *[B] * 3)
    clock.now += 121
    assert started(scheduler, A, B) == [4], "on the machine that is not kept"


def test_a_full_cluster_and_the_number_of_workers_start_nothing(schedule: Schedule) -> None:
    assert started(schedule(0), *[(Need(1, 0), None)] * 8) == []
    assert started(schedule(0, 0, 0, max_running=2), (Need(1, 0), None)) == [0]


def test_a_cell_that_reads_anothers_split_starts_when_that_one_has_ended(schedule: Schedule) -> None:
    schedule()
    maker = toy_item(device="cpu")
    reader = toy_item(device="cpu", splitter="other", seed=0, like=maker.cell.splitter.model_dump())
    scheduler = Scheduler([reader, maker], limits=Limits(), gpu_share=1.0)
    ((job, _),) = scheduler.take([])
    assert job.item is maker
    assert scheduler.take([]) == []
    scheduler.settle(job, toy_row(), may_retry=True)
    assert [job.item for job, _ in scheduler.take([])] == [reader]


def test_only_faults_of_the_infrastructure_are_retried_each_time_later_and_not_for_ever(
    schedule: Schedule, clock: SimpleNamespace
) -> None:
    scheduler = schedule(1)
    waits = []
    for _ in range(2):
        ((job, _),) = scheduler.take([])
        scheduler.settle(job, toy_row(state=State.FAILED, kind="worker_died"), may_retry=True)
        assert scheduler.take([]) == []
        waits.append(job.not_before - clock.now)
        clock.now = job.not_before
    assert waits == [2.0, 4.0]
    ((job, _),) = scheduler.take([])
    scheduler.settle(job, toy_row(state=State.FAILED, kind="worker_died"), may_retry=True)
    assert scheduler.jobs == []
    ((other, _),) = (scheduler := schedule(1)).take([])
    scheduler.settle(other, toy_row(state=State.FAILED, kind="SplitFailedError"), may_retry=True)
    assert scheduler.jobs == []


def test_a_cell_that_ran_out_of_memory_requests_more_the_next_time(schedule: Schedule) -> None:
    scheduler = schedule(3)
    ((job, _),) = scheduler.take([])
    scheduler.settle(job, toy_row(state=State.OUT_OF_MEMORY, kind="node_out_of_memory"), may_retry=True)
    assert job.memory == 6 * GIGABYTE


@pytest.mark.parametrize(("share", "count"), [(1.0, 2), (0.1, 20), (0.3, 6)])
def test_shares_of_a_gpu_add_up_on_one_machine(share: float, count: int) -> None:
    room = Room([Node(64, 2)])
    assert sum(room.take(Need(1, share)) for _ in range(40)) == count


def test_work_without_a_gpu_goes_where_there_is_none() -> None:
    room = Room([Node(1, 1), Node(1, 0)])
    assert room.take(Need(1, 0))
    assert room.take(Need(1, 1))
    assert room.is_full


class FakeWorker:
    """A worker whose cell has ended with a row, or with its own death."""

    def __init__(self, row: Row | None = None) -> None:
        self.ended = self.answered = object()
        self._row = row

    def row(self) -> Row:
        if self._row is None:
            raise exceptions.ActorDiedError
        return self._row

    def stop(self, state: State, reason: str) -> None:
        """Do nothing."""


def cell_on(node_id: str, worker: Any, item: SuiteCell | None = None) -> Running:
    return Running(Job(item or toy_item()), worker, 0.0, Limits(grace=1.0), "toys", node_id=node_id)


def test_deaths_of_many_workers_are_looked_into_at_once_without_waiting(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []

    def look() -> list[dict[str, Any]]:
        looks.append(None)
        return [{"NodeID": "gone", "Alive": False}, {"NodeID": "up", "Alive": True}, {"NodeID": "c", "Alive": True}]

    monkeypatch.setattr(running.ray, "nodes", look)
    monkeypatch.setattr(dispatcher, "_ready_among", lambda references: references)
    here, gone = [cell_on("up", FakeWorker()) for _ in range(2)], cell_on("gone", FakeWorker())
    assert [(cell, row.failure_kind) for cell, row in dispatcher._ended([*here, gone])] == [(gone, "node_died")]
    assert len(looks) == 1
    assert dispatcher._pending(here) == [], "nothing more will come of them"
    clock.now += 2.1
    assert [row.failure_kind for _, row in dispatcher._ended(here)] == ["worker_died"] * 2


def test_a_cell_that_ended_after_the_last_look_is_not_taken_for_one_that_did_not(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(dispatcher, "_ready_among", lambda references: references if next(answers) else [])
    cell = cell_on("a", FakeWorker(row := toy_row()))
    cell.stop(State.INTERRUPTED, "interrupted")
    clock.now += 60
    assert [found for _, found in dispatcher._ended([cell])] == [row]


def test_machines_carry_rays_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "autoscaled_kinds", list)
    found = {"Alive": True, "Resources": {"CPU": 4}, "NodeID": "a"}
    monkeypatch.setattr(cluster.ray, "nodes", lambda: [found])
    assert cluster.nodes() == [Node(4, 0, node_id="a")]
