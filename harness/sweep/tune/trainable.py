"""The Tune trainable of a trial: it runs the trial's cells one after the other and reports each one's row."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import Cell
from benchmarks.pipeline.preparation import STAGES
from benchmarks.rows.row import State
from harness.execution.attempt import CellStopped, Surroundings, run_attempt
from harness.faults import INFRASTRUCTURE_FAULTS
from harness.suite_cell import SuiteCell
from harness.sweep.tune.trial_report import Event, Report
from splitters.methods.protocol import Progress

HEARTBEAT_SECONDS = 0.5
"""Between two reports of progress; each is an opportunity for the driver to end the trial."""

Send = Callable[[dict[str, Any]], None]


class MachineFailedError(RuntimeError):
    """Ends a trial whose machine failed it, so that Tune starts it again on another one."""


@dataclass(frozen=True)
class TrialLimits:
    """Limits of a trial.

    Args:
        seconds: Wall time; None for no limit.
        grace: Seconds between asking a trial over its limit to end and killing its process.
        gpu_share: The share of a GPU that it owns.
    """

    seconds: float | None = None
    grace: float = 15.0
    gpu_share: float = 0.0


def trial_config(key: str, items: Sequence[SuiteCell]) -> dict[str, Any]:
    """Returns the Tune configuration of a trial.

    Args:
        key: Identifies the trial's configuration.
        items: The cells to run; there may be none.
    """
    label = items[0].label if items else None
    return {"key": key, "cells": [item.cell.model_dump_json() for item in items], "label": label or ""}


def run_trial(
    config: Mapping[str, Any],
    *,
    surroundings: Surroundings,
    limits: TrialLimits,
    send: Send | None = None,
) -> None:
    """Runs the cells of a trial, up to the first that is not ``ok``.

    Args:
        config: See ``trial_config``.
        surroundings: What all cells share.
        limits: The trial's limits.
        send: Takes each report; Tune by default.

    Raises:
        MachineFailedError: If the last row says that the machine failed.
    """
    if send is None:
        from ray import tune

        send = tune.report
    if not limits.gpu_share:
        # Ray leaves GPUs visible to workers that did not ask for one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    with _killed_after(limits):
        for text in config["cells"]:
            item = SuiteCell(Cell.model_validate_json(text), config["label"] or None)
            if not _run_cell(item, surroundings, limits, deadline, send):
                return


def _run_cell(
    item: SuiteCell, surroundings: Surroundings, limits: TrialLimits, deadline: float | None, send: Send
) -> bool:
    """Runs a cell and returns whether it is ``ok``."""
    import torch

    cell_id = item.cell.cell_id
    send(Report("begin", cell_id).to_result())
    reporter = _Reporter(cell_id, limits, deadline, send)
    device = "cuda:0" if item.cell.device == "cuda" or (limits.gpu_share and torch.cuda.is_available()) else "cpu"
    row = run_attempt(item, surroundings, device=device, gpu_share=limits.gpu_share, progress=reporter)
    if reporter.was_ended:
        # This is how Tune ends a trial's thread. A further report would block for ever.
        raise SystemExit(0)
    send(Report("row", cell_id, row=row).to_result())
    if row.failure_kind in INFRASTRUCTURE_FAULTS:
        raise MachineFailedError(f"{row.failure_kind}: {row.reason}")
    return row.state is State.OK


class _Reporter:
    """The progress callback of a cell: reports its steps, and heartbeats between them."""

    def __init__(self, cell_id: str, limits: TrialLimits, deadline: float | None, send: Send) -> None:
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
            raise CellStopped(State.TIMEOUT, f"the trial took longer than {self._limits.seconds:g} s")
        is_step = progress.step > self._step and {"accuracy", "kernel_retention"} <= set(progress.metrics)
        if is_step:
            self._step = progress.step
        if is_step or now - self._last >= HEARTBEAT_SECONDS:
            self._last = now
            self._report("step" if is_step else "progress", progress, now - self._split_began)

    def _report(self, event: Event, progress: Progress, seconds: float) -> None:
        try:
            self._send(Report(event, self._cell_id, progress, seconds).to_result())
        except SystemExit as stop:
            # Tune ends a trial by an exit out of the report, which must not be taken for an error of the splitter.
            self.was_ended = True
            raise CellStopped(State.INTERRUPTED, "the trial was ended") from stop


@contextmanager
def _killed_after(limits: TrialLimits) -> Iterator[None]:
    """Kills this process if the trial is over its limit and does not listen; Tune cannot do that while it computes."""
    if limits.seconds is None:
        yield
        return
    timer = threading.Timer(limits.seconds + limits.grace, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
