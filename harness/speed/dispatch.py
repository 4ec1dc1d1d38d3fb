"""How busy the dispatcher keeps a cluster: real Ray nodes on this machine, simulated GPUs, sleeping cells."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ray

from benchmarks.cells import Cell
from benchmarks.rows.row import Metrics, Row, State
from harness.execution import Limits, SilentListener, StopSignal
from harness.execution.attempt import Outcome, Surroundings, make_row
from harness.execution.ray.backend import RayBackend
from harness.execution.ray.cluster import connection
from harness.execution.ray.worker import ActorHandle, Answer, actor_class
from harness.execution.run_plan import run_plan
from harness.machines.provenance import provenance
from harness.planning.plan import make_plan
from harness.speed.sleeper import Sleeper
from harness.store import ResultStore
from harness.suite_cell import SuiteCell

_OBJECT_STORE_BYTES = 80 << 20

_ROUNDS = 20
"""Cells per slot where workers are running already; start and end weigh little then."""


@dataclass(frozen=True)
class Busy:
    """How busy a cluster was.

    Args:
        name: What gave it the cells.
        slots: How many cells it can run at once.
        cells: How many were run.
        cell_seconds: How long each slept.
        seconds: From the first cell's begin to the last one's end.
        driver_cpu_seconds: Processor time of the driver.
    """

    name: str
    slots: int
    cells: int
    cell_seconds: float
    seconds: float
    driver_cpu_seconds: float

    @property
    def share(self) -> float:
        """The share of the slots' time in which cells slept."""
        return self.cells * self.cell_seconds / (self.slots * self.seconds)


class SleepingWorkers:
    """Starts workers that sleep; a ``WorkerFactory``.

    Args:
        cell_seconds: How long each cell sleeps.
        idle: Workers that are running already and serve one cell after the other; None starts one for each cell.
    """

    def __init__(self, cell_seconds: float, *, idle: list[Any] | None = None) -> None:
        self.cell_seconds = cell_seconds
        self.idle = idle
        self.source = provenance()
        self.started: list[float] = []

    def __call__(self, item: SuiteCell, gpu_share: float, options: Mapping[str, Any]) -> SleepingWorker:
        """Start a sleep."""
        actor = self.idle.pop() if self.idle else actor_class(Sleeper).options(**options).remote()
        return SleepingWorker(self, item, actor, actor.run.remote(self.cell_seconds))


class SleepingWorker(ActorHandle):
    """The handle of a ``Sleeper``, whose row is made here: the sleeper imports nothing of the harness."""

    def __init__(self, workers: SleepingWorkers, item: SuiteCell, actor: Any, ended: Any) -> None:
        super().__init__(actor, ended)
        self._workers = workers
        self._item = item

    def row(self) -> Row:
        """Return a good row, and note when the sleep began."""
        self._workers.started.append(ray.get(self.ended))
        outcome = Outcome(State.OK, Metrics(accuracy_loss=0.0))
        source, seconds = self._workers.source, self._workers.cell_seconds
        now = datetime.now(timezone.utc)
        return make_row(self._item, "sleep", outcome, source=source, started_at=now, seconds=seconds)

    def answer(self) -> Answer:
        """Return the sleeper's answer."""
        return Answer(ray.get(self.answered), None)

    def release(self) -> None:
        """End the sleeper, or keep it for the next cell."""
        if self._workers.idle is None:
            super().release()
        else:
            self._workers.idle.append(self._actor)


def measure(*, slots: int, nodes: int, cells: int, cell_seconds: float) -> list[Busy]:
    """Start a cluster, run sleeping cells on it by a plain loop and by the backend, and shut it down.

    Args:
        slots: Cells at once, spread evenly over the nodes.
        nodes: Ray nodes.
        cells: Cells.
        cell_seconds: How long each sleeps.
    """
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    small: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=slots // nodes, num_gpus=slots // nodes, **small)
        address = str(cluster.address)
        return [
            _timed("plain loop", slots, cells, cell_seconds, lambda: _by_loop(address, slots, cells, cell_seconds)),
            _timed("splitbench", slots, cells, cell_seconds, lambda: _by_backend(address, cells, cell_seconds)),
            _with_workers(address, slots, max(cells, _ROUNDS * slots), cell_seconds),
        ]
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def _timed(name: str, slots: int, cells: int, cell_seconds: float, run: Callable[[], list[float]]) -> Busy:
    """Return how busy a run kept the slots; it returns when each of its cells began."""
    cpu = time.process_time()
    began = run()
    cpu = time.process_time() - cpu
    return Busy(name, slots, cells, cell_seconds, max(began) + cell_seconds - min(began), cpu)


def _with_workers(address: str, slots: int, cells: int, cell_seconds: float) -> Busy:
    """Measure the dispatcher without the start of processes: every slot has a worker before."""
    with connection(address):
        workers = [actor_class(Sleeper).options(num_cpus=1, num_gpus=1).remote() for _ in range(slots)]
        ray.get([worker.poll.remote() for worker in workers])
        name = "workers there"
        return _timed(name, slots, cells, cell_seconds, lambda: _by_backend(address, cells, cell_seconds, workers))


def _by_backend(address: str, cells: int, cell_seconds: float, idle: list[Any] | None = None) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        workers = SleepingWorkers(cell_seconds, idle=idle)
        backend = RayBackend(
            Surroundings("sleep", Path(folder)), Limits(), address=address, mixed=True, start_worker=workers
        )
        report = run_plan(
            make_plan(_cells(cells), []),
            ResultStore(Path(folder) / "results"),
            backend,
            listener=SilentListener(),
            stop=StopSignal(),
        )
        if not report.all_well:
            raise RuntimeError("some cells have no good row")
        return workers.started


def _by_loop(address: str, slots: int, cells: int, cell_seconds: float) -> list[float]:
    began: list[float] = []
    running: dict[Any, Any] = {}

    def end_one() -> None:
        (done,), _ = ray.wait(list(running))
        began.append(ray.get(done))
        ray.kill(running.pop(done))

    with connection(address):
        for _ in range(cells):
            if len(running) == slots:
                end_one()
            worker = actor_class(Sleeper).options(num_cpus=1, num_gpus=1).remote()
            worker.poll.remote()
            running[worker.run.remote(cell_seconds)] = worker
        while running:
            end_one()
    return began


def _cells(count: int) -> Sequence[SuiteCell]:
    values = {"splitter": {"name": "full"}, "model": {"name": "simcnn"}, "dataset": {"name": "digits"}}
    return [SuiteCell(Cell.model_validate({**values, "seed": seed})) for seed in range(count)]
