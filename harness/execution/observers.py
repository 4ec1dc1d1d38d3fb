"""Keep errors of a run's observers from ending the run."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import ParamSpec

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
