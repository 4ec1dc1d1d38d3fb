"""What runs in a trial's worker: its cells, one after the other, each ending as a row that goes to the driver."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import Cell
from benchmarks.records import State
from harness.attempt import CellStopped, Surroundings, run_attempt
from harness.suite_cell import SuiteCell
from harness.sweep.reports import Report, is_step
from splitters.methods.protocol import Progress

HEARTBEAT_SECONDS = 0.5
"""Between two reports of progress; each is a moment at which the driver can end the trial."""

_BEFORE_THE_SPLIT = frozenset({"start", "data", "train", "weights"})
"""Stages in which a cell does not split yet; the seconds of its steps count from their end."""


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may take.

    Args:
        seconds: Wall time; None for ever.
        grace: Seconds between the polite end of a trial that takes longer and that of its process.
        gpu_share: The share of a GPU that it owns.
    """

    seconds: float | None = None
    grace: float = 15.0
    gpu_share: float = 0.0


def run_trial(
    config: Mapping[str, Any],
    *,
    surroundings: Surroundings,
    limits: TrialLimits,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Runs the cells of a trial, up to the first that is not ``ok``.

    Args:
        config: ``cells``: the cells as JSON. ``label``: the splitter's label, or nothing.
        surroundings: What all cells share.
        limits: What the trial may take.
        report: Takes each report; Tune's own by default.
    """
    if report is None:
        from ray import tune

        report = tune.report
    if not limits.gpu_share:
        # Ray leaves GPUs visible to workers that did not ask for one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Before a worker serves its next trial, Tune waits for the thread of the last one; if that is slow, it loses one.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(int(limits.grace) + 1)
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    with _watchdog(limits):
        for text in config["cells"]:
            item = SuiteCell(Cell.model_validate_json(text), config["label"] or None)
            if not _run_cell(item, surroundings, limits, deadline, report):
                return


def _run_cell(
    item: SuiteCell,
    surroundings: Surroundings,
    limits: TrialLimits,
    deadline: float | None,
    report: Callable[[dict[str, Any]], None],
) -> bool:
    """Runs a cell and says whether it is ``ok``."""
    cell_id = item.cell.cell_id
    report(Report("begin", cell_id).to_result())
    reporter = _Reporter(cell_id, limits, deadline, report)
    row = run_attempt(
        item,
        surroundings,
        device=_device(item.cell, limits.gpu_share),
        gpu_share=limits.gpu_share,
        progress=reporter,
    )
    if reporter.was_ended:
        # Tune ends a trial's thread so. Any further report would wait for ever, or go to this worker's next trial.
        raise SystemExit(0)
    report(Report("row", cell_id, row=row).to_result())
    return row.state is State.OK


def _device(cell: Cell, gpu_share: float) -> str:
    import torch

    return "cuda:0" if cell.device == "cuda" or (gpu_share and torch.cuda.is_available()) else "cpu"


class _Reporter:
    """The progress callback of a cell: passes steps on, and a sign of life between them."""

    def __init__(
        self, cell_id: str, limits: TrialLimits, deadline: float | None, report: Callable[[dict[str, Any]], None]
    ) -> None:
        self._cell_id = cell_id
        self._limits = limits
        self._deadline = deadline
        self._report = report
        self._began = self._last = time.monotonic()
        self._step = 0
        self.was_ended = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage in _BEFORE_THE_SPLIT:
            self._began = now
        if self._deadline is not None and now > self._deadline:
            raise CellStopped(State.TIMEOUT, f"the trial took longer than {self._limits.seconds:g} s")
        if is_step(progress) and progress.step > self._step:
            self._step = progress.step
            self._send("step", progress, now)
        elif now - self._last >= HEARTBEAT_SECONDS:
            self._send("progress", progress, now)

    def _send(self, event: Any, progress: Progress, now: float) -> None:
        self._last = now
        report = Report(
            event,
            self._cell_id,
            stage=progress.stage,
            step=progress.step,
            total=progress.total,
            seconds=now - self._began,
            metrics=progress.metrics,
        )
        try:
            self._report(report.to_result())
        except SystemExit as stop:
            # Tune ends a trial by an exit out of the report, which must not be taken for an error of the splitter.
            self.was_ended = True
            raise CellStopped(State.INTERRUPTED, "the trial was ended") from stop


@contextmanager
def _watchdog(limits: TrialLimits) -> Iterator[None]:
    """Ends this process if the trial does not listen: nobody else can, while it computes."""
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
