"""The actor that runs one cell."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import ray

from benchmarks.rows.row import Row, State
from harness.execution.attempt import CellStopped, Surroundings, run_attempt
from harness.machines.devices import device_for, hide_gpus_without
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress

CONTROL = "control"
"""The concurrency group of the methods that answer while a cell runs."""

_HEARING_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What a worker answers.

    Args:
        node_id: Ray's name of the machine that it is on.
        progress: The last report of its cell, if there is one.
    """

    node_id: str
    progress: Progress | None


class CellWorker:
    """Runs one cell, and listens meanwhile.

    Args:
        gpu_share: The share of a GPU that Ray gave this worker.
    """

    def __init__(self, gpu_share: float) -> None:
        hide_gpus_without(gpu_share)
        self._gpu_share = gpu_share
        self._heard = threading.Event()
        self._latest: Progress | None = None
        self._milestones: deque[Progress] = deque()
        self._stop: tuple[State, str] | None = None

    def run(self, item: SuiteCell, surroundings: Surroundings) -> Row:
        """Runs the cell and returns its row."""
        # The driver's clock starts with the first answer; code that never lets go of the interpreter would prevent one.
        self._heard.wait(_HEARING_SECONDS)
        device = device_for(item.cell, self._gpu_share)
        return run_attempt(item, surroundings, device=device, gpu_share=self._gpu_share, progress=self._report)

    @ray.method(concurrency_group=CONTROL)
    def poll(self) -> Answer:
        """Returns how far the cell is; that it answers at all says that the worker has started."""
        self._heard.set()
        return Answer(ray.get_runtime_context().get_node_id(), self._next_report())

    @ray.method(concurrency_group=CONTROL)
    def stop(self, state: State, reason: str) -> None:
        """Asks the cell to end; it does so when it next reports progress."""
        self._stop = (state, reason)

    def _next_report(self) -> Progress | None:
        """Returns the next milestone that was not told yet, else the last report."""
        return self._milestones.popleft() if self._milestones else self._latest

    def _report(self, progress: Progress) -> None:
        report = replace(progress, metrics=dict(progress.metrics))
        if report.milestone and (self._latest is None or _place(report) != _place(self._latest)):
            self._milestones.append(report)
        self._latest = report
        if self._stop is not None:
            raise CellStopped(*self._stop)


def _place(progress: Progress) -> tuple[str, int]:
    return progress.stage, progress.step
