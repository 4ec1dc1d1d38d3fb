"""Several listeners as one, and a guard that keeps errors of a run's observers from ending the run."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import ParamSpec

from benchmarks.rows.row import Row
from harness.execution.backend import Listener
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress

Parameters = ParamSpec("Parameters")


class ObserverGuard:
    """Calls observers, and keeps the first error that one raises.

    Anything that is no ``Exception`` passes: ``CellStopped`` and ``KeyboardInterrupt`` end a cell on purpose.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(
        self, observe: Callable[Parameters, object], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> None:
        """Call an observer."""
        try:
            observe(*args, **kwargs)
        except Exception as error:  # Reported once, at the end, by whoever owns this guard.
            self.error = self.error or error

    @property
    def message(self) -> str | None:
        """The first error in one line, or None."""
        if self.error is None:
            return None
        text = next(iter(str(self.error).strip().splitlines()), "")
        return f"{type(self.error).__name__}: {text}" if text else type(self.error).__name__


class Listeners:
    """Notifies several listeners, each of them even if an earlier one raises.

    Args:
        listeners: The listeners, in the order in which they are notified.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def started(self, item: SuiteCell) -> None:
        """Notify each."""
        self._notify(lambda listener: listener.started(item))

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Notify each."""
        self._notify(lambda listener: listener.progressed(item, progress))

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Notify each."""
        self._notify(lambda listener: listener.finished(item, row))

    def _notify(self, event: Callable[[Listener], object]) -> None:
        guard = ObserverGuard()
        for listener in self._listeners:
            guard(event, listener)
        if guard.error is not None:
            raise guard.error
