"""Several listeners as one, a guard that keeps errors of a run's observers from ending the run, and plain reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

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


def plain_progress(progress: Progress) -> Progress:
    """Return a report whose stage is text that JSON can hold, and whose numbers are ints and finite floats.

    Splitters of third parties may report anything. Arrays and tensors of one value become numbers; a step without a
    number is 0, and metrics without one are left out.
    """
    metrics = progress.metrics if isinstance(progress.metrics, Mapping) else {}
    numbers = {_text(name): _number(value) for name, value in metrics.items()}
    return Progress(
        _text(progress.stage),
        _count(progress.step) or 0,
        _count(progress.total),
        {name: number for name, number in numbers.items() if number is not None},
        milestone=bool(progress.milestone),
    )


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None
