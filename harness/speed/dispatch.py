"""How busy the dispatcher keeps a cluster: real Ray nodes on this machine, make-believe GPUs, sleeping cells."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ray

from benchmarks.cells import Cell
from benchmarks.rows.row import Metrics, Row, State
from harness.execution import Limits, SilentListener, StopSignal
from harness.execution.attempt import Outcome, Surroundings, make_row
from harness.execution.ray.backend import RayBackend, Running, actor_class
from harness.execution.ray.cluster import connection
from harness.execution.ray.worker import Answer
from harness.execution.run_plan import run_plan
from harness.machines.provenance import provenance
from harness.planning.plan import make_plan
from harness.speed.sleeper import Sleeper
from harness.store import ResultStore
from harness.suite_cell import SuiteCell

_OBJECT_STORE_BYTES = 80 << 20

_ROUNDS = 20
"""Where workers are there already, beginning and end weigh little after so many cells per slot."""


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


class SleepingBackend(RayBackend):
    """The backend as it is, but for what its workers do.

    Args:
        cell_seconds: How long each cell sleeps.
        waiting: Workers that are there already and serve one cell after the other; without, each cell gets its own.
    """

    def __init__(self, cell_seconds: float, *, address: str, folder: Path, waiting: list[Any] | None = None) -> None:
        super().__init__(Surroundings("sleep", folder), Limits(), address=address, mixed=True)
        self._cell_seconds = cell_seconds
        self._waiting = waiting
        self._source = provenance()
        self.began: list[float] = []

    def call_worker(self, options: dict[str, Any], item: SuiteCell, gpu_share: float) -> tuple[Any, Any]:
        """Starts a worker that sleeps."""
        worker: Any = self._waiting.pop() if self._waiting else actor_class(Sleeper).options(**options).remote()
        return worker, worker.run.remote(self._cell_seconds)

    def release(self, worker: Any) -> None:
        """Ends a worker, or keeps it for the next cell."""
        if self._waiting is None:
            super().release(worker)
        else:
            self._waiting.append(worker)

    def understand(self, answer: Any) -> Answer:
        """Returns what a sleeper's answer says."""
        return Answer(answer, None)

    def row_of(self, cell: Running, result: Any) -> Row:
        """Returns a good row for what the worker returned."""
        self.began.append(result)
        outcome = Outcome(State.OK, Metrics(accuracy_loss=0.0))
        now = datetime.now(timezone.utc)
        return make_row(
            cell.job.item, "sleep", outcome, source=self._source, started_at=now, seconds=self._cell_seconds
        )


def measure(*, slots: int, nodes: int, cells: int, cell_seconds: float) -> list[Busy]:
    """Starts a cluster, lets cells sleep on it, dealt out by a plain loop and by the backend, and takes it down.

    Args:
        slots: Cells at once, dealt out evenly over the nodes.
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
    """Returns how busy a run kept the slots, which returns when each of its cells began."""
    cpu = time.process_time()
    began = run()
    cpu = time.process_time() - cpu
    return Busy(name, slots, cells, cell_seconds, max(began) + cell_seconds - min(began), cpu)


def _with_workers(address: str, slots: int, cells: int, cell_seconds: float) -> Busy:
    """Measures the dispatcher where every slot has a worker before it begins: without the start of processes."""
    with connection(address):
        workers = [actor_class(Sleeper).options(num_cpus=1, num_gpus=1).remote() for _ in range(slots)]
        ray.get([worker.poll.remote() for worker in workers])
        name = "workers there"
        return _timed(name, slots, cells, cell_seconds, lambda: _by_backend(address, cells, cell_seconds, workers))


def _by_backend(address: str, cells: int, cell_seconds: float, waiting: list[Any] | None = None) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        backend = SleepingBackend(cell_seconds, address=address, folder=Path(folder), waiting=waiting)
        report = run_plan(
            make_plan(_cells(cells), []),
            ResultStore(Path(folder) / "results"),
            backend,
            listener=SilentListener(),
            stop=StopSignal(),
        )
        if not report.all_well:
            raise RuntimeError("some cells have no good row")
        return backend.began


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
