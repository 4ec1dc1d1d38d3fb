"""Cells one after the other in this process: for tests, for debugging, and for small machines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType

import torch

from benchmarks.cells import Cell
from benchmarks.records import Row, State
from harness.attempt import CellStopped, Surroundings, run_attempt
from harness.dispatch.base import CLAIM_SECONDS, Claim, Claims, Limits, Listener, NoOtherDrivers
from harness.dispatch.stop import StopSignal
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, ProgressCallback


class InlineBackend:
    """Runs cells in this process.

    A deadline holds here only as far as cells report progress: nobody can kill them without killing this process.

    Args:
        surroundings: What all cells share.
        limits: Of these, ``timeout`` plays a part.
    """

    def __init__(self, surroundings: Surroundings, limits: Limits) -> None:
        self._surroundings = surroundings
        self._limits = limits

    def __enter__(self) -> InlineBackend:
        """Returns the backend."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does nothing."""

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""
        return self._surroundings.suite

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Checks that there is a GPU if one is asked for; see ``Backend.check``."""
        for item in cells:
            if item.cell.device == "cuda" and not torch.cuda.is_available():
                raise ConfigurationError(
                    f"{item.title}: device: cuda is asked for, but torch finds no GPU here. "
                    "Use --set device=auto, or a machine with a GPU."
                )

    def run(
        self,
        queue: Sequence[SuiteCell],
        *,
        stop: StopSignal,
        listener: Listener,
        claims: Claims | None = None,
    ) -> Iterator[tuple[SuiteCell, Row]]:
        """Runs cells one after the other; see ``Backend.run``."""
        for item in _claimed(queue, claims or NoOtherDrivers(), stop):
            listener.started(item)
            device = _device(item.cell)
            yield (
                item,
                run_attempt(
                    item,
                    self._surroundings,
                    device=device,
                    gpu_share=1.0 if device.startswith("cuda") else 0.0,
                    progress=self._progress(item, stop, listener),
                ),
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


def _claimed(queue: Sequence[SuiteCell], claims: Claims, stop: StopSignal) -> Iterator[SuiteCell]:
    """Yields each cell once it is ours, until none is left or the run shall end."""
    waiting = deque(queue)
    refused = 0
    while waiting and not stop.requested:
        item = waiting.popleft()
        (claim,) = claims.take([item])
        if claim is Claim.OURS:
            refused = 0
            yield item
        elif claim is Claim.THEIRS:
            waiting.append(item)
            refused += 1
            if refused >= len(waiting):
                stop.wait(CLAIM_SECONDS)


def _device(cell: Cell) -> str:
    on_gpu = cell.device == "cuda" or (cell.device == "auto" and torch.cuda.is_available())
    return "cuda:0" if on_gpu else "cpu"
