"""The protocol of backends, which run cells and yield rows, and of listeners."""

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
    """Time limits, and retries after faults of the infrastructure.

    Args:
        timeout: Seconds that a cell (of a sweep: a trial) may take; None for no limit.
        grace: Seconds between asking it to stop and killing its worker.
        retries: Number of retries after a fault of the infrastructure.
        backoff: Seconds before the first retry; each further one waits twice as long.
    """

    timeout: float | None = None
    grace: float = 15.0
    retries: int = 2
    backoff: float = 2.0

    def delay(self, attempts: int) -> float:
        """Return the seconds before the next attempt, after this many have failed."""
        return self.backoff * 2.0 ** (attempts - 1)


class Listener(Protocol):
    """Is notified of the progress of a run."""

    def started(self, item: SuiteCell) -> None:
        """A cell has started."""

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """A cell has made progress."""

    def finished(self, item: SuiteCell, row: Row) -> None:
        """An attempt at a cell has ended, and its row is stored."""


class SilentListener:
    """The listener that does nothing."""

    def started(self, item: SuiteCell) -> None:
        """Do nothing."""

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Do nothing."""

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Do nothing."""


class Backend(AbstractContextManager["Backend"], Protocol):
    """Runs cells; a context that holds what it needs to run them."""

    @property
    def suite(self) -> str:
        """The name of the suite that rows carry."""

    def check(self, cells: Sequence[SuiteCell]) -> None:
        """Check that every cell can run here.

        Raises:
            ConfigurationError: If one requests more than there is.
        """

    def run(
        self,
        queue: Sequence[SuiteCell],
        *,
        stop: StopSignal,
        listener: Listener,
    ) -> Iterator[tuple[SuiteCell, Row]]:
        """Run cells and yield the row of each attempt as soon as it has ended.

        Args:
            queue: The cells, in the order in which they should start.
            stop: Checked often; once it is requested, running cells end as ``interrupted`` and no further one starts.
            listener: Notified of starts and progress; the caller notifies it of ends, once rows are stored.
        """
