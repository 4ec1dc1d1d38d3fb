"""Signals that end a program: as a request to stop, as an exception, and protected from libraries' own handlers."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

_OUTPUTS = (1, 2)


class StopSignal:
    """A request to stop a run.

    As a context, which may be nested, it handles SIGINT, SIGTERM and SIGHUP, the end of the terminal: the first signal
    sets ``requested``; the second raises ``KeyboardInterrupt`` wherever the program is.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._before: list[dict[signal.Signals, Any]] = []

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._requested.is_set()

    def request(self) -> None:
        """Request a stop."""
        self._requested.set()

    def __enter__(self) -> StopSignal:
        """Take over the signals, if this is the main thread; Python allows it nowhere else."""
        self._before.append(_set_handlers(dict.fromkeys((signal.SIGINT, *_ending()), self._on_signal)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the handlers."""
        _set_handlers(self._before.pop())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        _leave_terminal(number)
        if self.requested:
            raise KeyboardInterrupt
        self.request()


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, which would end the process on the spot, raise ``KeyboardInterrupt`` in the block."""
    before = _set_handlers(dict.fromkeys(_ending(), _interrupt))
    try:
        yield
    finally:
        _set_handlers(before)


@contextmanager
def kept_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM after a block that replaces it."""
    before = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    try:
        yield
    finally:
        _set_handlers(before)


def _ending() -> list[signal.Signals]:
    """Return the signals that end a program, besides Ctrl-C: SIGHUP where there is one, unless ``nohup`` ignores it."""
    hangup = None if sys.platform == "win32" else signal.SIGHUP
    heard = hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN
    return [signal.SIGTERM, *([hangup] if hangup is not None and heard else [])]


def _interrupt(number: int, frame: FrameType | None) -> None:
    _leave_terminal(number)
    raise KeyboardInterrupt


def _leave_terminal(number: int) -> None:
    """After a SIGHUP, let output go nowhere, as any write to a terminal that is gone would raise.

    This holds for copies of the outputs, too, which are kept to restore them.
    """
    if signal.Signals(number).name != "SIGHUP":
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    opened: dict[int, os.stat_result] = {}
    for descriptor in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # The listing's own is closed by now.
            opened[descriptor] = os.fstat(descriptor)
    outputs = [opened[output] for output in _OUTPUTS if output in opened]
    terminals = {output.st_rdev for output in outputs if stat.S_ISCHR(output.st_mode)}
    for descriptor, status in opened.items():
        if status.st_rdev in terminals:
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _set_handlers(handlers: dict[signal.Signals, Any]) -> dict[signal.Signals, Any]:
    """Set handlers, and return those that were set before; do nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    # None stands for a handler that was not set by Python and cannot be restored.
    return {number: signal.signal(number, handler or signal.SIG_DFL) for number, handler in handlers.items()}
