"""What a backend is: something that takes cells and gives rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from benchmarks.rows.row import Row
from harness.signals import StopSignal
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress


@dataclass(frozen=True)
class Limits:
    """How long a cell may take, and how often the machine's faults are forgiven.

    Args:
        timeout: Seconds that a cell may take; None for ever.
        grace: Seconds between the polite request to stop and the end of the worker.
        retries: How often a cell is tried again after a fault of the infrastructure.
        backoff: Seconds before the first such retry; each further one waits twice as long.
    """

    timeout: float | None = None
    grace: float = 15.0
    retries: int = 2
    backoff: float = 2.0


class Listener(Protocol):
    """What wants to know how a run goes on."""

    def started(self, item: SuiteCell) -> None:
        """A cell begins."""

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """A cell goes on."""

    def finished(self, item: SuiteCell, row: Row) -> None:
        """An attempt at a cell is over, and its row is stored."""


class SilentListener:
    """The listener that does nothing."""

    def started(self, item: SuiteCell) -> None:
        """Does nothing."""

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Does nothing."""

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Does nothing."""


class Backend(AbstractContextManager["Backend"], Protocol):
    """Runs cells. Entering it takes what it needs, leaving it gives that back."""

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Checks that every cell can run here.

        Raises:
            ConfigurationError: If one asks for more than there is.
        """

    def run(
        self,
        queue: Sequence[SuiteCell],
        *,
        stop: StopSignal,
        listener: Listener,
    ) -> Iterator[tuple[SuiteCell, Row]]:
        """Runs cells and yields each attempt's row as soon as it is there.

        Args:
            queue: The cells, the first ones first.
            stop: Asked often; once it is requested, running cells end as ``interrupted`` and no further one begins.
            listener: Told when cells begin and go on; ``finished`` is the caller's to tell.
        """
