from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import toy_item

from harness.execution import Limits
from harness.execution.attempt import Surroundings
from harness.execution.ray import backend as ray_backend
from harness.execution.ray import cluster
from harness.execution.ray.backend import Job, RayBackend, Running
from harness.execution.ray.capacity import Need, Room
from harness.execution.ray.cluster import Node
from harness.execution.ray.preparations import Preparations

GIGABYTE = 1e9


def jobs(*sizes: float) -> list[Job]:
    """Returns waiting cells, each with the gigabytes that it asks for."""
    return [Job(toy_item(seed=seed, device="cpu"), memory=size * GIGABYTE) for seed, size in enumerate(sizes)]


def running(*found: Job, node_id: str | None = None) -> list[Running]:
    return [Running(job, None, object(), 0.0, None, 0.0, node_id=node_id) for job in found]


def begin(backend: RayBackend, waiting: list[Job], beside: list[Running]) -> list[int]:
    """Returns the seeds of the cells that may begin."""
    return [job.item.cell.seed for job, _ in backend._ready(waiting, beside)]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayBackend:
    """A backend on two machines with 4 CPUs and 8 GB each."""
    machines = [Node(4, 0, 8 * GIGABYTE, name) for name in ("a", "b")]
    monkeypatch.setattr(ray_backend, "nodes", lambda: machines)
    return RayBackend(Surroundings("toys", tmp_path), Limits())


def test_cells_that_fit_overtake_one_that_asks_for_more_memory_than_is_free(backend: RayBackend) -> None:
    occupied = jobs(1, 1)
    beside = running(occupied[0], node_id="a") + running(occupied[1], node_id="b")
    assert begin(backend, jobs(8, 1, 8, 1, 1), beside) == [1, 3, 4]
    assert begin(backend, jobs(8, 1), running(occupied[0], node_id="a")) == [0, 1], "machine b is free for it"


def test_a_cell_is_not_overtaken_for_ever(backend: RayBackend) -> None:
    one, two, three = jobs(1, 1, 1)
    beside = running(one, two, node_id="a") + running(three, node_id="b")
    waiting = jobs(8, *[1] * 8)
    assert len(begin(backend, waiting, beside)) == 5
    waiting[0].overtaken_since = time.monotonic() - ray_backend._OVERTAKEN_SECONDS - 1
    assert begin(backend, waiting, beside) == [1, 2], "machine b, which is closest to being free, is kept for it"
    assert begin(backend, waiting, beside[:2]) == [0, 1, 2]


def test_room_is_kept_for_one_cell_at_a_time(backend: RayBackend) -> None:
    one, two = jobs(1, 1)
    beside = running(one, node_id="a") + running(two, node_id="b")
    waiting = jobs(8, 7.5, 1)
    for job in waiting:
        job.overtaken_since = 1.0
    assert begin(backend, waiting, beside) == [2]


def test_a_full_cluster_and_the_number_of_workers_begin_nothing(backend: RayBackend, tmp_path: Path) -> None:
    assert begin(backend, jobs(0), running(*jobs(*[0] * 8))) == []
    limited = RayBackend(Surroundings("toys", tmp_path), Limits(), workers=2)
    assert begin(limited, jobs(0, 0, 0), running(*jobs(0))) == [0]


def test_a_cell_that_reads_anothers_split_begins_when_that_one_has_ended(backend: RayBackend) -> None:
    maker = Job(toy_item(device="cpu"))
    reader = Job(toy_item(device="cpu", splitter="other", seed=0, like=maker.item.cell.splitter.model_dump()))
    backend._preparations = Preparations([reader.item, maker.item])
    assert [job for job, _ in backend._ready([reader, maker], [])] == [maker]
    backend._preparations.finishes(maker.item)
    assert [job for job, _ in backend._ready([reader], [])] == [reader]


@pytest.mark.parametrize(("share", "count"), [(1.0, 2), (0.1, 20), (0.3, 6)])
def test_shares_of_a_gpu_add_up_on_one_machine(share: float, count: int) -> None:
    room = Room([Node(64, 2)])
    assert sum(room.take(Need(1, share)) for _ in range(40)) == count


def test_work_without_a_gpu_goes_where_there_is_none() -> None:
    room = Room([Node(1, 1), Node(1, 0)])
    assert room.take(Need(1, 0))
    assert room.take(Need(1, 1))
    assert room.is_full


def test_deaths_of_many_workers_are_looked_into_at_once_without_waiting(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    error = ray_backend.exceptions.ActorDiedError()

    def look() -> list[dict[str, Any]]:
        looks.append(time.monotonic())
        return [{"NodeID": "gone", "Alive": False}, {"NodeID": "up", "Alive": True}, {"NodeID": "c", "Alive": True}]

    def fail(reference: object) -> None:
        raise error

    monkeypatch.setattr(ray_backend.ray, "nodes", look)
    monkeypatch.setattr(ray_backend.ray, "get", fail)
    monkeypatch.setattr(ray_backend, "_ready_among", lambda references: references)
    backend = RayBackend(surroundings, Limits())
    here, gone = running(*jobs(0, 0), node_id="up"), running(*jobs(0), node_id="gone")
    assert [(cell, row.failure_kind) for cell, row in backend._ended(here + gone)] == [(gone[0], "node_died")]
    assert len(looks) == 1
    assert ray_backend._results(here) == [], "nothing more will come of them"
    for cell in here:
        assert cell.died_at is not None
        cell.died_at -= ray_backend._BAD_NEWS_SECONDS
    assert [row.failure_kind for _, row in backend._ended(here)] == ["worker_died"] * 2


def test_machines_carry_rays_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "autoscaled_kinds", list)
    found = {"Alive": True, "Resources": {"CPU": 4}, "NodeID": "a"}
    monkeypatch.setattr(cluster.ray, "nodes", lambda: [found])
    assert cluster.nodes() == [Node(4, 0, node_id="a")]
