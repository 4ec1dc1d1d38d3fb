"""Which of the waiting cells may start: in order, where there is room, and when what they share is prepared."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.rows.row import Row
from harness.execution.backend import Limits
from harness.execution.ray.capacity import Need, Room
from harness.execution.ray.cluster import Node, gpu_share_of, memory_limit, nodes
from harness.execution.ray.preparations import Preparations
from harness.faults import INFRASTRUCTURE_FAULTS, NODE_OUT_OF_MEMORY
from harness.suite_cell import SuiteCell

_MACHINES_SECONDS = 1.0
"""Asking Ray for its machines in every pass would cost more than the rest of the pass."""

_OVERTAKEN_SECONDS = 120.0
"""Smaller cells may overtake one that does not fit for this long; then room is reserved for it."""

_MEMORY_AFTER_FAULT = float(4 << 30)
"""A cell that ran out of memory requests at least this much, and so has fewer neighbours the next time."""


@dataclass(eq=False)
class Job:
    """A cell to run.

    Args:
        item: The cell.
        attempts: Number of attempts so far.
        not_before: When it may start (``time.monotonic``).
        memory: Bytes of memory to request; 0 requests none.
        overtaken_since: When it was first found not to fit (``time.monotonic``).
    """

    item: SuiteCell
    attempts: int = 0
    not_before: float = 0.0
    memory: float = 0.0
    overtaken_since: float | None = None


Occupied = tuple[Need, str | None]
"""What a running worker occupies, and Ray's id of its machine once that is known."""


class Scheduler:
    """The cells that wait.

    Args:
        queue: The cells, in the order in which they should start.
        limits: Retries and backoff.
        gpu_share: The share of a GPU that each cell on a GPU gets.
        max_running: Maximum number of cells at once; None for no limit.
        memory: Bytes of memory to request, by cell id.
        shares_cache: Whether what one machine prepares is there for the others.
    """

    def __init__(
        self,
        queue: Sequence[SuiteCell],
        *,
        limits: Limits,
        gpu_share: float,
        max_running: int | None = None,
        memory: Mapping[str, float] | None = None,
        shares_cache: bool = False,
    ) -> None:
        self.jobs = [Job(item, memory=(memory or {}).get(item.cell.cell_id, 0)) for item in queue]
        self.preparations = Preparations(queue)
        self._limits = limits
        self._gpu_share = gpu_share
        self._max_running = max_running or sys.maxsize
        self._shares_cache = shares_cache
        self._machines: tuple[float, list[Node]] = (float("-inf"), [])

    def take(self, occupied: Collection[Occupied]) -> list[tuple[Job, float]]:
        """Remove and return the cells that may start now, each with its share of a GPU.

        A cell that does not fit is overtaken by others for a while; then room is reserved for it, one at a time.

        Args:
            occupied: What running cells occupy.
        """
        slots = self._max_running - len(occupied)
        if not self.jobs or slots <= 0:
            return []
        machines, now = self._known_machines(), time.monotonic()
        room = _room_beside(occupied, machines)
        # Machines that share no cache train a base model each, and waiting for each other would not save them that.
        one_trains = len(machines) == 1 or self._shares_cache
        taken: list[tuple[Job, float]] = []
        preparing: set[str] = set()
        too_large: set[tuple[str, int, float]] = set()
        has_reserved = False
        for job in self.jobs:
            if len(taken) == slots or room.is_full:
                break
            cell = job.item.cell
            size = (cell.device, cell.threads, job.memory)
            if size in too_large or job.not_before > now or self.preparations.reads_unfinished(job.item):
                continue
            if one_trains and not self._is_prepared(job.item, preparing):
                continue
            need = self._need(job, machines)
            if room.take(need):
                taken.append((job, need.gpus))
                preparing.add(self.preparations.key(job.item))
                continue
            too_large.add(size)
            job.overtaken_since = job.overtaken_since or now
            if not has_reserved and now - job.overtaken_since > _OVERTAKEN_SECONDS:
                room.reserve(need)
                has_reserved = True
        for job, _ in taken:
            self.jobs.remove(job)
            self.preparations.start(job.item)
            job.attempts += 1
            job.overtaken_since = None
        return taken

    def settle(self, job: Job, row: Row, *, may_retry: bool) -> None:
        """Schedule a retry of a cell that has ended, if a fault of the infrastructure ended it."""
        if not may_retry or row.failure_kind not in INFRASTRUCTURE_FAULTS or job.attempts > self._limits.retries:
            self.preparations.finish(job.item)
            return
        job.not_before = time.monotonic() + self._limits.delay(job.attempts)
        if row.failure_kind == NODE_OUT_OF_MEMORY:
            job.memory = max(2 * job.memory, _MEMORY_AFTER_FAULT)
        self.jobs.append(job)

    def _need(self, job: Job, machines: Sequence[Node]) -> Need:
        """Return what a cell's worker will occupy; no more memory than the largest machine has."""
        threads = job.item.cell.threads
        share = gpu_share_of(job.item.cell, self._gpu_share, machines)
        job.memory = min(job.memory, memory_limit(machines, threads, share))
        return Need(threads, share, job.memory)

    def _known_machines(self) -> list[Node]:
        now = time.monotonic()
        if now - self._machines[0] > _MACHINES_SECONDS:
            self._machines = (now, nodes())
        return self._machines[1]

    def _is_prepared(self, item: SuiteCell, preparing: Collection[str]) -> bool:
        """Return whether a cell finds its base model, or is the first to train it."""
        preparations = self.preparations
        return preparations.may_start(item) and (
            preparations.is_prepared(item) or preparations.key(item) not in preparing
        )


def _room_beside(occupied: Collection[Occupied], machines: Sequence[Node]) -> Room:
    """Return the room beside running cells; those whose machine is known are subtracted first."""
    room = Room(machines)
    for need, node_id in sorted(occupied, key=lambda pair: pair[1] is None):
        room.take(need, node_id)
    return room
