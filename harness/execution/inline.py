"""Run cells one after the other in this process: for tests, for debugging, and for small machines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType

import torch

from benchmarks.rows.row import Row, State
from harness.execution.attempt import CellStopped, Surroundings, run_attempt
from harness.execution.backend import Limits, Listener
from harness.execution.isolation import NotRestoredError
from harness.faults import PROCESS_NOT_RESTORED
from harness.machines.devices import check_precision, device_here
from harness.signals import StopSignal
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, ProgressCallback


class InlineBackend:
    """Runs cells in this process.

    Deadlines hold only for cells that report progress: a cell cannot be killed without this process.

    Args:
        surroundings: What all cells share.
        limits: Of these, only ``timeout`` applies.
    """

    def __init__(self, surroundings: Surroundings, limits: Limits) -> None:
        self._surroundings = surroundings
        self._limits = limits

    def __enter__(self) -> InlineBackend:
        """Return the backend."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""
        return self._surroundings.suite

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Check that there is a GPU if one is requested, or needed for TF32; see ``Backend.check``."""
        for item in cells:
            if item.cell.device == "cuda" and not torch.cuda.is_available():
                raise ConfigurationError(
                    f"{item.title}: device: cuda is asked for, but torch finds no GPU here. "
                    "Use --set device=auto, or a machine with a GPU."
                )
            check_precision(item.cell, device_here(item.cell)[1], title=item.title)

    def run(
        self,
        queue: Sequence[SuiteCell],
        *,
        stop: StopSignal,
        listener: Listener,
    ) -> Iterator[tuple[SuiteCell, Row]]:
        """Run cells one after the other; see ``Backend.run``."""
        for item in queue:
            if stop.requested:
                return
            listener.started(item)
            device, gpu_share = device_here(item.cell)
            row = run_attempt(
                item,
                self._surroundings,
                device=device,
                gpu_share=gpu_share,
                progress=self._progress(item, stop, listener),
            )
            yield item, row
            if row.failure_kind == PROCESS_NOT_RESTORED:
                # Further cells could have wrong results in this process, and there is no other one.
                raise NotRestoredError(
                    f"{item.title}: {row.reason}. Run it with --backend ray, in a process of its own."
                )

    def _progress(self, item: SuiteCell, stop: StopSignal, listener: Listener) -> ProgressCallback:
        timeout = self._limits.timeout
        deadline = None if timeout is None else time.monotonic() + timeout

        def report(progress: Progress) -> None:
            if stop.requested:
                raise CellStopped(State.INTERRUPTED, "interrupted")
            if deadline is not None and time.monotonic() > deadline:
                raise CellStopped(State.TIMEOUT, f"it took longer than {timeout:g} s")
            listener.progressed(item, progress)

        return report
