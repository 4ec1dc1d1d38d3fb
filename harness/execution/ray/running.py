"""A cell that has a worker: its deadline, its progress, and how it ends if the worker cannot say so itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import ray
from ray import exceptions

from benchmarks.rows.row import Row, State
from harness.execution.attempt import Outcome, make_row, reason_of
from harness.execution.backend import Limits
from harness.execution.ray.capacity import Need
from harness.execution.ray.scheduling import Job, Occupied
from harness.execution.ray.worker import Answer, Worker
from harness.faults import NODE_DIED, NODE_OUT_OF_MEMORY, WORKER_DIED
from harness.machines.provenance import provenance
from splitters.foreign_code import message_of

_POLL_SECONDS = 0.5
_NODE_FAILURE_SECONDS = 2.0
"""Ray notices that a machine's workers are gone before it notices that the machine is."""

MachinesUp = Callable[[], Mapping[str, bool]]


@dataclass(eq=False)
class Running:
    """A cell that has a worker.

    Args:
        job: The cell.
        worker: Its worker.
        gpu_share: The share of a GPU that it has.
        limits: Its limits.
        suite: The suite's name, for its row.
    """

    job: Job
    worker: Worker
    gpu_share: float
    limits: Limits
    suite: str
    clock: float | None = None
    """When the worker answered first (``time.monotonic``); None while Ray is still starting it."""
    node_id: str | None = None
    """Ray's id of the worker's machine, once it has answered."""
    died_at: float | None = None
    """When the worker was found dead while its machine seemed to be up."""
    _polled_at: float = field(default_factory=time.monotonic, init=False)
    _started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc), init=False)
    _stop_request: tuple[State, str, float] | None = field(default=None, init=False)

    @property
    def occupied(self) -> Occupied:
        """What it occupies, and where."""
        return Need(self.job.item.cell.threads, self.gpu_share, self.job.memory), self.node_id

    def stop(self, state: State, reason: str) -> None:
        """Ask the cell to end, once."""
        if self._stop_request is None and self.died_at is None:
            self._stop_request = (state, reason, time.monotonic())
            self.worker.stop(state, reason)

    def enforce_deadline(self) -> None:
        """Ask the cell to end if it has taken too long."""
        timeout = self.limits.timeout
        if timeout is not None and self.clock is not None and time.monotonic() - self.clock > timeout:
            self.stop(State.TIMEOUT, f"it took longer than {timeout:g} s")

    @property
    def is_overdue(self) -> bool:
        """Whether it was asked to end, and has not within the time of grace."""
        return self._stop_request is not None and time.monotonic() - self._stop_request[2] > self.limits.grace

    def answer(self) -> Answer | None:
        """Return the worker's answer and poll it again; None if it is dead, or was polled a moment ago."""
        now = time.monotonic()
        if self.clock is not None and now - self._polled_at < _POLL_SECONDS:
            return None
        try:
            answer = self.worker.answer()
        except exceptions.RayError:
            return None  # Its row says how it died.
        if self.clock is None:
            self.clock, self._started_at = now, datetime.now(timezone.utc)
            self.node_id = answer.node_id
        self.worker.poll()
        self._polled_at = now
        return answer

    def row(self, machines_up: MachinesUp) -> Row | None:
        """Return the row of the cell, which has ended; None while it is open whether its machine died or its worker.

        Args:
            machines_up: Returns for each machine whether it is up.
        """
        try:
            return self.worker.row()
        except exceptions.RayError as error:
            outcome = self._outcome_when_stopping(error) or _outcome_of(error)
            if outcome.kind == WORKER_DIED and self.node_id is not None:
                up = machines_up()
                if not up.get(self.node_id, False):
                    outcome = replace(outcome, kind=NODE_DIED)
                elif len(up) > 1 and not self._has_outlived_worker():
                    return None
            return self._make_row(outcome)

    def killed_row(self) -> Row:
        """Return the row of a cell that was asked to end and did not."""
        assert self._stop_request is not None
        state, reason, _ = self._stop_request
        killed = f"{reason}; it did not end within {self.limits.grace:g} s and was killed"
        return self._make_row(Outcome(state, reason=killed))

    def _make_row(self, outcome: Outcome) -> Row:
        return make_row(
            self.job.item,
            self.suite,
            outcome,
            source=provenance(),
            started_at=self._started_at,
            seconds=time.monotonic() - self.clock if self.clock is not None else 0.0,
            gpu_share=self.gpu_share,
        )

    def _outcome_when_stopping(self, error: exceptions.RayError) -> Outcome | None:
        """Return the outcome if the worker died after the cell was asked to end."""
        if self._stop_request is None or isinstance(error, exceptions.RayTaskError):
            return None
        state, reason, _ = self._stop_request
        return Outcome(state, reason=f"{reason}; its worker died before it had stopped", traceback=str(error))

    def _has_outlived_worker(self) -> bool:
        """Return whether the machine of the dead worker has been up for long enough since."""
        now = time.monotonic()
        self.died_at = self.died_at or now
        return now - self.died_at > _NODE_FAILURE_SECONDS


def machines_up() -> dict[str, bool]:
    """Return for each machine that Ray knows whether it is up."""
    return {node["NodeID"]: node["Alive"] for node in ray.nodes()}  # type: ignore[no-untyped-call]


def _outcome_of(error: exceptions.RayError) -> Outcome:
    """Return the outcome of a cell that left no row, distinguishing machine faults from its own errors."""
    if isinstance(error, exceptions.RayTaskError):
        kind = type(error.cause).__name__
        return Outcome(State.FAILED, reason=reason_of(error.cause), kind=kind, traceback=message_of(error))
    state, kind = State.FAILED, WORKER_DIED
    if isinstance(error, exceptions.OutOfMemoryError):
        state, kind = State.OUT_OF_MEMORY, NODE_OUT_OF_MEMORY
    elif isinstance(error, exceptions.NodeDiedError) or "node died" in str(error):
        kind = NODE_DIED
    return Outcome(state, reason=reason_of(error), kind=kind, traceback=message_of(error))
