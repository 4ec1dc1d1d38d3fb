"""Ctrl-C and SIGTERM as a request: the first one ends the run in order, the second one at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Whether the run shall end.

    As a context it takes over SIGINT and SIGTERM, and gives them back afterwards. The first signal sets ``requested``;
    the second raises ``KeyboardInterrupt`` wherever the program is.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether somebody asked for the end."""
        return self._requested.is_set()

    def wait(self, seconds: float) -> None:
        """Waits so long, or until somebody asks for the end."""
        self._requested.wait(seconds)

    def request(self) -> None:
        """Asks for the end."""
        self._requested.set()

    def __enter__(self) -> StopSignal:
        """Takes over the signals, where Python allows it: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.request()
