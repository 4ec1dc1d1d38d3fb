"""Cells on Ray: a fresh worker for each, a hard deadline, and the machine's faults told from a method's."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from types import TracebackType
from typing import Any

import ray
from ray import exceptions

from benchmarks.rows.row import Row, State
from harness.execution.attempt import Outcome, Surroundings, make_row
from harness.execution.backend import Limits, Listener
from harness.execution.ray.capacity import Need, Room
from harness.execution.ray.cluster import Node, check_fits, connection, gpu_share_of, memory_limit, nodes
from harness.execution.ray.inspection import require_alike
from harness.execution.ray.preparations import Preparations
from harness.execution.ray.worker import CONTROL, Answer, CellWorker
from harness.faults import INFRASTRUCTURE_FAULTS, NODE_DIED, NODE_OUT_OF_MEMORY, WORKER_DIED
from harness.machines.node_facts import versions
from harness.machines.provenance import provenance
from harness.signals import StopSignal
from harness.suite_cell import SuiteCell

_WAIT_SECONDS = 0.2
_POLL_SECONDS = 0.5
_BAD_NEWS_SECONDS = 2.0
"""Ray misses a machine's workers before it misses the machine."""

_MACHINES_SECONDS = 1.0
"""Machines come and go, but asking for them at every turn costs more than all else that a turn does."""

_OVERTAKEN_SECONDS = 120.0
"""A cell that does not fit is overtaken by smaller ones for this long; after that, room is kept free for it."""

_MEMORY_AFTER_TROUBLE = float(4 << 30)
"""A cell that was ended for want of memory asks for so much at least, and so has fewer neighbours the next time."""


@dataclass(eq=False)
class Job:
    """A cell that waits.

    Args:
        item: The cell.
        attempts: How many attempts it has had.
        not_before: When it may begin (``time.monotonic``).
        memory: Bytes of memory that it asks for; 0 asks for none.
        overtaken_since: When it was found not to fit (``time.monotonic``).
    """

    item: SuiteCell
    attempts: int = 0
    not_before: float = 0.0
    memory: float = 0.0
    overtaken_since: float | None = None


@dataclass(eq=False)
class Running:
    """A cell that has a worker.

    Args:
        job: The cell.
        worker: The actor's handle.
        result: The reference to its row.
        gpu_share: The share of a GPU that it has.
        poll: The reference to its next report.
        polled_at: When that was asked for.
        started_at: When the worker answered first; None while Ray still looks for room.
        asked: How it was asked to end, and when.
        node_id: Ray's name of its worker's machine, once it has answered.
        died_at: When its worker was found dead while its machine seemed to be up.
    """

    job: Job
    worker: Any
    result: Any
    gpu_share: float
    poll: Any
    polled_at: float
    clock: float | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    asked: tuple[State, str, float] | None = None
    node_id: str | None = None
    died_at: float | None = None

    def ask(self, state: State, reason: str) -> None:
        """Asks the cell to end, once."""
        if self.asked is None and self.died_at is None:
            self.asked = (state, reason, time.monotonic())
            self.worker.stop.remote(state, reason)


class RayBackend:
    """Runs cells on Ray.

    Args:
        surroundings: What all cells share; its folders must exist on every machine.
        limits: Timeout, grace, retries.
        address: A cluster's address; None starts Ray on this machine.
        gpu_share: The share of a GPU that each cell owns.
        workers: How many cells run at once at most; None fills the cluster.
        mixed: Whether machines may differ in what ``harness.machines.doctor`` compares.
        memory: Bytes of memory that cells ask for, by cell id; those that are not in it ask for none.
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
    ) -> None:
        # Machines may join after the run has begun, so each worker looks once more.
        self._surroundings = surroundings if mixed else replace(surroundings, expected=versions())
        self._limits = limits
        self._address = address
        self._gpu_share = gpu_share
        self._workers = workers
        self._mixed = mixed
        self._memory = memory or {}
        self._preparations = Preparations()
        self._machines: tuple[float, list[Node]] = (float("-inf"), [])
        self._stack = ExitStack()

    def __enter__(self) -> RayBackend:
        """Connects to Ray."""
        self._stack.enter_context(connection(self._address))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the connection that was made here."""
        self._stack.close()

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""
        return self._surroundings.suite

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Checks that the cluster has room for each cell, and machines that are alike; see ``Backend.check``."""
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
        """Runs cells as far as there is room; see ``Backend.run``."""
        self._preparations = Preparations(queue)
        waiting = [Job(item, memory=self._memory.get(item.cell.cell_id, 0)) for item in queue]
        running: list[Running] = []
        done: deque[tuple[Job, Row]] = deque()
        try:
            while waiting or running or done:
                if stop.requested:
                    waiting.clear()
                    _interrupt(running)
                self._start(waiting, running)
                while done:
                    job, row = done.popleft()
                    yield job.item, row
                    if self._deserves_retry(row, job) and not stop.requested:
                        waiting.append(self._again(job, row))
                    else:
                        self._preparations.finishes(job.item)
                    # Storing takes a while, in which no place should stay empty; but not too many rows may be at stake.
                    if len(done) < len(running) and _ready_among(_results(running)):
                        break
                _await_news(running)
                self._follow(running, listener)
                done.extend(self._take_ended(running))
        finally:
            for left in running:
                ray.kill(left.worker)

    def _start(self, waiting: list[Job], running: list[Running]) -> None:
        """Gives workers to cells whose time has come, the first ones first, as far as the cluster has room."""
        for job, share in self._ready(waiting, running):
            waiting.remove(job)
            running.append(self._launch(job, share))

    def _ready(self, waiting: list[Job], running: list[Running]) -> list[tuple[Job, float]]:
        """Returns the cells that may begin, each with its share of a GPU.

        A cell that does not fit is overtaken by others for a while; then room is kept free for it, one at a time.
        """
        places = (self._workers or sys.maxsize) - len(running)
        if not waiting or places <= 0:
            return []
        machines, now = self._known_machines(), time.monotonic()
        room = _room_beside(running, machines)
        # Without a shared cache, machines that share no folder train a base model each; waiting saves nothing.
        one_each = len(machines) == 1 or self._surroundings.shared_cache is not None
        ready: list[tuple[Job, float]] = []
        begun: set[str] = set()
        too_large: set[tuple[str, int, float]] = set()
        has_reserved = False
        for job in waiting:
            if len(ready) == places or room.is_full:
                break
            cell = job.item.cell
            size = (cell.device, cell.threads, job.memory)
            if size in too_large or job.not_before > now or self._preparations.reads_unfinished(job.item):
                continue
            if one_each and not self._may_begin(job.item, begun):
                continue
            need = self._need(job, machines)
            if room.take(need):
                ready.append((job, need.gpus))
                begun.add(self._preparations.key(job.item))
                continue
            too_large.add(size)
            job.overtaken_since = job.overtaken_since or now
            if not has_reserved and now - job.overtaken_since > _OVERTAKEN_SECONDS:
                room.reserve(need)
                has_reserved = True
        return ready

    def _need(self, job: Job, machines: list[Node]) -> Need:
        """Return what a cell's worker will occupy; no more memory than the largest machine has."""
        threads = job.item.cell.threads
        share = gpu_share_of(job.item.cell, self._gpu_share, machines)
        job.memory = min(job.memory, memory_limit(machines, threads, share))
        return Need(threads, share, job.memory)

    def _known_machines(self) -> list[Node]:
        """Returns the machines as they were a moment ago."""
        now = time.monotonic()
        if now - self._machines[0] > _MACHINES_SECONDS:
            self._machines = (now, nodes())
        return self._machines[1]

    def _may_begin(self, item: SuiteCell, begun: set[str]) -> bool:
        """Returns whether nobody trains the cell's base model; of several such cells at once, the first may."""
        return self._preparations.may_begin(item) and (
            self._preparations.is_there(item) or self._preparations.key(item) not in begun
        )

    def _launch(self, job: Job, gpu_share: float) -> Running:
        options: dict[str, Any] = {"num_cpus": job.item.cell.threads, "num_gpus": gpu_share}
        if job.memory:
            options["memory"] = int(job.memory)
        worker, result = self.call_worker(options, job.item, gpu_share)
        job.attempts += 1
        job.overtaken_since = None
        self._preparations.begins(job.item)
        return Running(job, worker, result, gpu_share, worker.poll.remote(), time.monotonic())

    def call_worker(self, options: dict[str, Any], item: SuiteCell, gpu_share: float) -> tuple[Any, Any]:
        """Starts a worker and its cell; returns the worker's handle and the reference to what comes of it."""
        worker: Any = actor_class(CellWorker).options(**options).remote(gpu_share)
        return worker, worker.run.remote(item, self._surroundings)

    def release(self, worker: Any) -> None:
        """Ends the worker of a cell that is over."""
        ray.kill(worker)

    def understand(self, answer: Any) -> Answer:
        """Returns what a worker's answer to ``poll`` says."""
        found: Answer = answer
        return found

    def row_of(self, cell: Running, result: Any) -> Row:
        """Returns the row that a worker's result stands for."""
        row: Row = result
        return row

    def _follow(self, running: list[Running], listener: Listener) -> None:
        """Passes reports on, and enforces deadlines politely."""
        answered = set(_ready_among([cell.poll for cell in running]))
        for cell in running:
            if cell.poll in answered:
                self._hear(cell, listener)
            timeout = self._limits.timeout
            if timeout is not None and cell.clock is not None and time.monotonic() - cell.clock > timeout:
                cell.ask(State.TIMEOUT, f"it took longer than {timeout:g} s")

    def _hear(self, cell: Running, listener: Listener) -> None:
        now = time.monotonic()
        if cell.clock is not None and now - cell.polled_at < _POLL_SECONDS:
            return
        try:
            answer = self.understand(ray.get(cell.poll))
        except exceptions.RayError:
            # The worker is dead; the reference to its row says how.
            return
        if cell.clock is None:
            cell.clock, cell.started_at = now, datetime.now(timezone.utc)
            cell.node_id = answer.node_id
            listener.started(cell.job.item)
        if answer.progress is not None:
            self._preparations.reports(cell.job.item, answer.progress)
            listener.progressed(cell.job.item, answer.progress)
        cell.poll, cell.polled_at = cell.worker.poll.remote(), now

    def _take_ended(self, running: list[Running]) -> list[tuple[Job, Row]]:
        """Returns the cells that have ended, with their rows, and gives their places free."""
        ended = list(self._ended(running))
        for cell, _ in ended:
            running.remove(cell)
            self.release(cell.worker)
            self._preparations.ends(cell.job.item)
        return [(cell.job, row) for cell, row in ended]

    def _ended(self, running: list[Running]) -> Iterator[tuple[Running, Row]]:
        ready = set(_ready_among([cell.result for cell in running]))
        machines_up = cache(_machines_up)
        for cell in list(running):
            is_overdue = cell.asked is not None and time.monotonic() - cell.asked[2] > self._limits.grace
            # Storing the rows of others takes its time, in which this one may have ended.
            if cell.result in ready or (is_overdue and _ready_among([cell.result])):
                row = self._row(cell, machines_up)
                if row is not None:
                    yield cell, row
            elif cell.asked is not None and is_overdue:
                state, reason, _ = cell.asked
                outcome = Outcome(
                    state, reason=f"{reason}; it did not end within {self._limits.grace:g} s and was killed"
                )
                yield cell, self._driver_row(cell, outcome)

    def _row(self, cell: Running, machines_up: Callable[[], Mapping[str, bool]]) -> Row | None:
        """Return the row of a cell that has ended; None while it is open whether its machine died or its worker."""
        try:
            result = ray.get(cell.result)
        except exceptions.RayError as error:
            outcome = _outcome_when_asked(cell, error) or _outcome_of(error)
            if outcome.kind == WORKER_DIED and cell.node_id is not None:
                up = machines_up()
                if not up.get(cell.node_id, False):
                    outcome = replace(outcome, kind=NODE_DIED)
                elif len(up) > 1 and not _is_certain(cell):
                    return None
            return self._driver_row(cell, outcome)
        return self.row_of(cell, result)

    def _driver_row(self, cell: Running, outcome: Outcome) -> Row:
        """Returns the row of an attempt whose worker cannot write one any more."""
        return make_row(
            cell.job.item,
            self._surroundings.suite,
            outcome,
            source=provenance(),
            started_at=cell.started_at,
            seconds=time.monotonic() - cell.clock if cell.clock is not None else 0.0,
            gpu_share=cell.gpu_share,
        )

    def _deserves_retry(self, row: Row, job: Job) -> bool:
        return row.failure_kind in INFRASTRUCTURE_FAULTS and job.attempts <= self._limits.retries

    def _again(self, job: Job, row: Row) -> Job:
        job.not_before = time.monotonic() + self._limits.backoff * 2 ** (job.attempts - 1)
        if row.failure_kind == NODE_OUT_OF_MEMORY:
            job.memory = max(2 * job.memory, _MEMORY_AFTER_TROUBLE)
        return job


@cache
def actor_class(worker: type) -> Any:
    """Returns a class of workers as Ray knows it. One for all cells: Ray examines and ships each that it is given."""
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {CONTROL: 1}}
    return ray.remote(**options)(worker)


def _interrupt(running: list[Running]) -> None:
    """Asks all cells to end, and forgets those that have not begun."""
    for cell in list(running):
        if cell.clock is None:
            ray.kill(cell.worker)
            running.remove(cell)
        else:
            cell.ask(State.INTERRUPTED, "interrupted")


def _ready_among(references: list[Any]) -> list[Any]:
    """Returns the references whose values are there, without waiting."""
    return list(ray.wait(references, num_returns=len(references), timeout=0)[0]) if references else []


def _results(running: list[Running]) -> list[Any]:
    """Return the references to what is not known yet, without those of workers that are known to be dead."""
    return [cell.result for cell in running if cell.died_at is None]


def _await_news(running: list[Running]) -> None:
    results = _results(running)
    if results:
        ray.wait(results, timeout=_WAIT_SECONDS)
    else:
        time.sleep(_WAIT_SECONDS)


def _room_beside(running: list[Running], machines: list[Node]) -> Room:
    """Return the room that running cells leave; those whose machine is known are taken into account first."""
    room = Room(machines)
    for cell in sorted(running, key=lambda cell: cell.node_id is None):
        room.take(Need(cell.job.item.cell.threads, cell.gpu_share, cell.job.memory), cell.node_id)
    return room


def _outcome_when_asked(cell: Running, error: exceptions.RayError) -> Outcome | None:
    """Return how a cell ended whose worker died after it was asked to stop; None if it was not asked."""
    if cell.asked is None or isinstance(error, exceptions.RayTaskError):
        return None
    state, reason, _ = cell.asked
    return Outcome(state, reason=f"{reason}; its worker died before it had stopped", traceback=str(error))


def _outcome_of(error: exceptions.RayError) -> Outcome:
    """Tells the machine's faults from errors that would come again."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Outcome(State.OUT_OF_MEMORY, reason=reason, kind=NODE_OUT_OF_MEMORY, traceback=str(error))
    if isinstance(error, exceptions.RayTaskError):
        return Outcome(State.FAILED, reason=_cause(error), kind=type(error.cause).__name__, traceback=str(error))
    if isinstance(error, exceptions.NodeDiedError) or "node died" in str(error):
        return Outcome(State.FAILED, reason=reason, kind=NODE_DIED, traceback=str(error))
    return Outcome(State.FAILED, reason=reason, kind=WORKER_DIED, traceback=str(error))


def _machines_up() -> dict[str, bool]:
    """Return for each machine that Ray knows whether it is up."""
    return {node["NodeID"]: node["Alive"] for node in ray.nodes()}  # type: ignore[no-untyped-call]


def _is_certain(cell: Running) -> bool:
    """Return whether a dead worker's machine has been up for long enough since."""
    now = time.monotonic()
    cell.died_at = cell.died_at or now
    return now - cell.died_at > _BAD_NEWS_SECONDS


def _cause(error: exceptions.RayTaskError) -> str:
    return next(iter(str(error.cause).strip().splitlines()), type(error.cause).__name__)
