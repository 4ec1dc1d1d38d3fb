"""The dispatcher: cells on Ray, a fresh worker for each, with hard deadlines and retries."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import Any

import ray

from benchmarks.rows.row import Row, State
from harness.execution.attempt import Surroundings
from harness.execution.backend import Limits, Listener
from harness.execution.ray.cluster import check_fits, connection
from harness.execution.ray.inspection import require_alike
from harness.execution.ray.running import Running, machines_up
from harness.execution.ray.scheduling import Job, Scheduler
from harness.execution.ray.worker import CellWorkers, WorkerFactory
from harness.machines.node_facts import versions
from harness.signals import StopSignal
from harness.suite_cell import SuiteCell

_WAIT_SECONDS = 0.2


class RayBackend:
    """Runs cells on Ray.

    Args:
        surroundings: What all cells share; its folders must exist on every machine.
        limits: Timeout, grace and retries of a cell.
        address: A cluster's address; None starts Ray on this machine.
        gpu_share: The share of a GPU that each cell owns.
        workers: Maximum number of cells at once; None fills the cluster.
        mixed: Whether machines may differ in what ``harness.machines.doctor`` compares.
        memory: Bytes of memory to request, by cell id; other cells request none.
        start_worker: Starts the worker of a cell; by default one that measures it.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        limits: Limits,
        *,
        address: str | None = None,
        gpu_share: float = 1.0,
        workers: int | None = None,
        mixed: bool = False,
        memory: Mapping[str, int] | None = None,
        start_worker: WorkerFactory | None = None,
    ) -> None:
        # Machines may join after the run has started, so each worker checks the versions once more.
        self._surroundings = surroundings if mixed else replace(surroundings, expected=versions())
        self._limits = limits
        self._address = address
        self._gpu_share = gpu_share
        self._workers = workers
        self._mixed = mixed
        self._memory = memory or {}
        self._start_worker = start_worker or CellWorkers(self._surroundings)
        self._stack = ExitStack()

    def __enter__(self) -> RayBackend:
        """Connect to Ray."""
        self._stack.enter_context(connection(self._address))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection if it was made here."""
        self._stack.close()

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""
        return self._surroundings.suite

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Check that the cluster has room for each cell, and machines that are alike; see ``Backend.check``."""
        check_fits(cells, self._gpu_share)
        if not self._mixed:
            require_alike(self._surroundings.cache)

    def run(
        self,
        queue: Sequence[SuiteCell],
        *,
        stop: StopSignal,
        listener: Listener,
    ) -> Iterator[tuple[SuiteCell, Row]]:
        """Run cells, as many at once as there is room for; see ``Backend.run``."""
        scheduler = Scheduler(
            queue,
            limits=self._limits,
            gpu_share=self._gpu_share,
            max_running=self._workers,
            memory=self._memory,
            shares_cache=self._surroundings.shared_cache is not None,
        )
        running: list[Running] = []
        ended: deque[tuple[Job, Row]] = deque()
        try:
            while scheduler.jobs or running or ended:
                if stop.requested:
                    scheduler.jobs.clear()
                    _interrupt(running)
                running += [self._start(job, share) for job, share in scheduler.take([c.occupied for c in running])]
                while ended:
                    job, row = ended.popleft()
                    yield job.item, row
                    scheduler.settle(job, row, may_retry=not stop.requested)
                    # Storing takes a while, in which no slot should stay empty; but not too many rows may be at stake.
                    if len(ended) < len(running) and _ready_among(_pending(running)):
                        break
                _wait(running)
                _follow(running, scheduler, listener)
                for cell, row in list(_ended(running)):
                    running.remove(cell)
                    cell.worker.release()
                    scheduler.preparations.end(cell.job.item)
                    ended.append((cell.job, row))
        finally:
            for cell in running:
                cell.worker.release()

    def _start(self, job: Job, gpu_share: float) -> Running:
        options: dict[str, Any] = {"num_cpus": job.item.cell.threads, "num_gpus": gpu_share}
        if job.memory:
            options["memory"] = int(job.memory)
        worker = self._start_worker(job.item, gpu_share, options)
        return Running(job, worker, gpu_share, self._limits, self.suite)


def _follow(running: Sequence[Running], scheduler: Scheduler, listener: Listener) -> None:
    """Relay what workers answer, and ask cells that have taken too long to end."""
    answered = set(_ready_among([cell.worker.answered for cell in running]))
    for cell in running:
        is_new, answer = cell.clock is None, cell.answer() if cell.worker.answered in answered else None
        if answer is not None and is_new:
            listener.started(cell.job.item)
        if answer is not None and answer.progress is not None:
            scheduler.preparations.progress(cell.job.item, answer.progress)
            listener.progressed(cell.job.item, answer.progress)
        cell.enforce_deadline()


def _ended(running: Sequence[Running]) -> Iterator[tuple[Running, Row]]:
    """Yield the cells that have ended, or did not when asked to, each with its row."""
    ready = set(_ready_among([cell.worker.ended for cell in running]))
    up_now = cache(machines_up)
    for cell in running:
        # Storing the rows of others takes time, in which an overdue cell may have ended.
        if cell.worker.ended in ready or (cell.is_overdue and _ready_among([cell.worker.ended])):
            row = cell.row(up_now)
            if row is not None:
                yield cell, row
        elif cell.is_overdue:
            yield cell, cell.killed_row()


def _interrupt(running: list[Running]) -> None:
    """Ask all cells to end, and drop those that have not started."""
    for cell in list(running):
        if cell.clock is None:
            cell.worker.release()
            running.remove(cell)
        else:
            cell.stop(State.INTERRUPTED, "interrupted")


def _ready_among(references: list[Any]) -> list[Any]:
    """Return the references that are ready, without waiting."""
    return list(ray.wait(references, num_returns=len(references), timeout=0)[0]) if references else []


def _pending(running: Sequence[Running]) -> list[Any]:
    """Return the references to ends that are not known yet, without those of workers that are known to be dead."""
    return [cell.worker.ended for cell in running if cell.died_at is None]


def _wait(running: Sequence[Running]) -> None:
    """Wait a moment, or until a cell ends."""
    pending = _pending(running)
    if pending:
        ray.wait(pending, timeout=_WAIT_SECONDS)
    else:
        time.sleep(_WAIT_SECONDS)
