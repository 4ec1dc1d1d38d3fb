"""The actor that runs one cell, and the driver's handle of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import ray

from benchmarks.rows.row import Row, State
from harness.execution.attempt import CellStopped, Surroundings, Work, measure, run_attempt
from harness.machines.devices import device_for, hide_gpus_without
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress

CONTROL = "control"
"""The concurrency group of the methods that answer while a cell runs."""

_FIRST_POLL_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """A worker's answer to a poll.

    Args:
        node_id: Ray's id of its machine.
        progress: The last report of its cell, if there is one.
    """

    node_id: str
    progress: Progress | None


class Worker(Protocol):
    """A cell's worker, as the dispatcher sees it."""

    @property
    def ended(self) -> Any:
        """A reference that is ready when the cell has ended, or the worker is dead."""

    @property
    def answered(self) -> Any:
        """A reference that is ready when the worker has answered the last poll, or is dead."""

    def row(self) -> Row:
        """Return the row of a cell that has ended.

        Raises:
            RayError: If the worker died before.
        """

    def answer(self) -> Answer:
        """Return the answer to the last poll.

        Raises:
            RayError: If the worker is dead.
        """

    def poll(self) -> None:
        """Ask for the next answer."""

    def stop(self, state: State, reason: str) -> None:
        """Ask the cell to end."""

    def release(self) -> None:
        """Give the worker up, whether or not its cell has ended."""


class WorkerFactory(Protocol):
    """Starts workers."""

    def __call__(self, item: SuiteCell, gpu_share: float, options: Mapping[str, Any]) -> Worker:
        """Start a cell on a new worker.

        Args:
            item: The cell.
            gpu_share: The share of a GPU that it gets.
            options: The resources to request from Ray.
        """


@dataclass(frozen=True)
class CellWorkers:
    """Starts a fresh actor for each cell.

    Args:
        surroundings: What all cells share.
        work: What is done with each cell.
    """

    surroundings: Surroundings
    work: Work = measure

    def __call__(self, item: SuiteCell, gpu_share: float, options: Mapping[str, Any]) -> Worker:
        """Start a cell; see ``WorkerFactory``."""
        actor = actor_class(CellWorker).options(**options).remote(gpu_share)
        return ActorHandle(actor, actor.run.remote(item, self.surroundings, self.work))


class ActorHandle:
    """The handle of a ``CellWorker``."""

    def __init__(self, actor: Any, ended: Any) -> None:
        self._actor = actor
        self.ended = ended
        self.answered = actor.poll.remote()

    def row(self) -> Row:
        """See ``Worker``."""
        row: Row = ray.get(self.ended)
        return row

    def answer(self) -> Answer:
        """See ``Worker``."""
        answer: Answer = ray.get(self.answered)
        return answer

    def poll(self) -> None:
        """See ``Worker``."""
        self.answered = self._actor.poll.remote()

    def stop(self, state: State, reason: str) -> None:
        """See ``Worker``."""
        self._actor.stop.remote(state, reason)

    def release(self) -> None:
        """See ``Worker``."""
        ray.kill(self._actor)


@cache
def actor_class(worker: type) -> Any:
    """Return a class of workers as a Ray actor; once for all cells, since Ray inspects and ships each class it gets."""
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {CONTROL: 1}}
    return ray.remote(**options)(worker)


class CellWorker:
    """Runs one cell, and answers polls meanwhile.

    Args:
        gpu_share: The share of a GPU that Ray gave this worker.
    """

    def __init__(self, gpu_share: float) -> None:
        hide_gpus_without(gpu_share)
        self._gpu_share = gpu_share
        self._was_polled = threading.Event()
        self._latest: Progress | None = None
        self._milestones: deque[Progress] = deque()
        self._stop: tuple[State, str] | None = None

    def run(self, item: SuiteCell, surroundings: Surroundings, work: Work = measure) -> Row:
        """Run the cell and return its row."""
        # The driver's clock starts with the first answer, which code that never releases the GIL would prevent.
        self._was_polled.wait(_FIRST_POLL_SECONDS)
        device = device_for(item.cell, self._gpu_share)
        return run_attempt(
            item, surroundings, device=device, gpu_share=self._gpu_share, progress=self._report, work=work
        )

    @ray.method(concurrency_group=CONTROL)
    def poll(self) -> Answer:
        """Return the cell's progress; the first answer shows that the worker has started."""
        self._was_polled.set()
        return Answer(ray.get_runtime_context().get_node_id(), self._next_report())

    @ray.method(concurrency_group=CONTROL)
    def stop(self, state: State, reason: str) -> None:
        """Ask the cell to end, which it does when it next reports progress."""
        self._stop = (state, reason)

    def _next_report(self) -> Progress | None:
        """Return the next milestone that was not sent yet, else the last report."""
        return self._milestones.popleft() if self._milestones else self._latest

    def _report(self, progress: Progress) -> None:
        report = replace(progress, metrics=dict(progress.metrics))
        if report.milestone and (self._latest is None or _step(report) != _step(self._latest)):
            self._milestones.append(report)
        self._latest = report
        if self._stop is not None:
            raise CellStopped(*self._stop)


def _step(progress: Progress) -> tuple[str, int]:
    return progress.stage, progress.step
