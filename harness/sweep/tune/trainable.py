"""The Tune trainable of a trial: it runs the trial's cells one after the other and reports each one's row."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.pipeline.preparation import STAGES
from benchmarks.rows.row import Row, State
from harness.execution import Limits
from harness.execution.attempt import CellStopped, Surroundings, run_attempt
from harness.faults import INFRASTRUCTURE_FAULTS
from harness.machines.devices import device_for, hide_gpus_without
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress

HEARTBEAT_SECONDS = 0.5
"""Between two reports of progress; each is an opportunity for the driver to end the trial."""

Send = Callable[[dict[str, Any]], None]


class MachineFailedError(RuntimeError):
    """Ends a trial whose machine failed it, so that Tune starts it again on another one."""


@dataclass(frozen=True)
class Report:
    """What a trial reports to the driver.

    Args:
        event: ``begin``: a cell begins. ``progress``: a heartbeat. ``step``: a round or generation has ended.
            ``row``: the cell has ended.
        cell_id: The cell.
        progress: The cell's progress; of a ``step``, with accuracy on select and kernel retention.
        seconds: Time since the split began.
        row: The row of a cell that has ended.
    """

    event: Literal["begin", "progress", "step", "row"]
    cell_id: str
    progress: Progress = field(default_factory=lambda: Progress("", 0))
    seconds: float = 0.0
    row: Row | None = None


def report_of(result: Mapping[str, Any]) -> Report | None:
    """Return the report in a Tune result; None in the one with which Tune itself ends a trial."""
    report: Report | None = result.get("report")
    return report


def trial_config(key: str, items: Sequence[SuiteCell], *, delay: float = 0.0) -> dict[str, Any]:
    """Return the Tune configuration of a trial.

    Args:
        key: Identifies the trial's configuration.
        items: The cells to run; there may be none.
        delay: Seconds to wait before the first cell.
    """
    return {"key": key, "items": list(items), "delay": delay}


def run_trial(
    config: Mapping[str, Any],
    *,
    surroundings: Surroundings,
    limits: Limits,
    gpu_share: float = 0.0,
    send: Send | None = None,
) -> None:
    """Run the cells of a trial, up to the first that is not ``ok``.

    Args:
        config: See ``trial_config``.
        surroundings: What all cells share.
        limits: The trial's limits.
        gpu_share: The share of a GPU that the trial owns.
        send: Takes each report; Tune by default.

    Raises:
        MachineFailedError: If the last row says that the machine failed.
    """
    if send is None:
        from ray import tune

        send = tune.report
    hide_gpus_without(gpu_share)
    time.sleep(config["delay"])  # Tune restarts failed trials at once.
    with _killed_after(limits):
        deadline = None if limits.timeout is None else time.monotonic() + limits.timeout
        for item in config["items"]:
            cell_id = item.cell.cell_id
            send({"report": Report("begin", cell_id)})
            reporter = _Reporter(cell_id, limits, deadline, send)
            device = device_for(item.cell, gpu_share)
            row = run_attempt(item, surroundings, device=device, gpu_share=gpu_share, progress=reporter)
            if reporter.was_ended:
                # This is how Tune ends a trial's thread. A further report would block for ever.
                raise SystemExit(0)
            send({"report": Report("row", cell_id, row=row)})
            if row.failure_kind in INFRASTRUCTURE_FAULTS:
                raise MachineFailedError(f"{row.failure_kind}: {row.reason}")
            if row.state is not State.OK:
                return


class _Reporter:
    """The progress callback of a cell: reports its steps, and heartbeats between them."""

    def __init__(self, cell_id: str, limits: Limits, deadline: float | None, send: Send) -> None:
        self._cell_id = cell_id
        self._limits = limits
        self._deadline = deadline
        self._send = send
        self._split_began = self._last = time.monotonic()
        self._step = 0
        self.was_ended = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage in STAGES:
            self._split_began = now
        if self._deadline is not None and now > self._deadline:
            raise CellStopped(State.TIMEOUT, f"the trial took longer than {self._limits.timeout:g} s")
        is_step = progress.step > self._step and {"accuracy", "kernel_retention"} <= set(progress.metrics)
        if is_step:
            self._step = progress.step
        if not is_step and now - self._last < HEARTBEAT_SECONDS:
            return
        self._last = now
        report = Report("step" if is_step else "progress", self._cell_id, progress, now - self._split_began)
        try:
            self._send({"report": report})
        except SystemExit as stop:
            # Tune ends a trial by an exit out of the report, which must not be taken for an error of the splitter.
            self.was_ended = True
            raise CellStopped(State.INTERRUPTED, "the trial was ended") from stop


@contextmanager
def _killed_after(limits: Limits) -> Iterator[None]:
    """Kill this process if the trial is over its limit and does not stop; Tune cannot do that while it computes."""
    if limits.timeout is None:
        yield
        return
    timer = threading.Timer(limits.timeout + limits.grace, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
