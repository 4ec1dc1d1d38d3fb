"""Progress reports: one line redrawn in place on a terminal; elsewhere a line per milestone, at most one a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.cli.output import progress_console
from harness.text import printable
from splitters.methods.protocol import Progress, ProgressCallback

MINUTE = 60.0
"""Seconds between two lines about the same work, where lines cannot be redrawn."""

_MOST_METRICS = 4
_SHORT = {"kernel_retention": "kernels", "jaccard_distance": "distance", "lowest_accuracy": "lowest accuracy"}


def progress_text(progress: Progress) -> str:
    """Return a one-line summary of a report: stage, step, metrics."""
    far = f"{progress.step}/{progress.total}" if progress.total else str(progress.step)
    shown = list(progress.metrics.items())[:_MOST_METRICS]
    numbers = [f"{_SHORT.get(name, name)} {value:.3g}" for name, value in shown]
    return printable("  ".join([f"{progress.stage} {far}", *numbers]))


class Pace:
    """Limits progress lines to milestones and one a minute per task; none in its first minute.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._shown: dict[str, tuple[str, int]] = {}

    def begin(self, key: str) -> None:
        """Start a piece of work."""
        self._last[key] = self._clock()
        self._shown.pop(key, None)

    def is_due(self, key: str, progress: Progress) -> bool:
        """Return whether to write a report's line now, and count it as written if so."""
        now, position = self._clock(), (progress.stage, progress.step)
        fresh = progress.milestone and self._shown.get(key) != position
        if not fresh and now - self._last.setdefault(key, now) < MINUTE:
            return False
        self._last[key] = now
        if progress.milestone:
            self._shown[key] = position
        return True


def show_progress(pace: Pace | None = None) -> ProgressCallback:
    """Return a progress callback that shows stage, step and figures on stderr.

    Args:
        pace: When lines are due off a terminal.
    """
    console = progress_console()
    paced = pace or Pace()
    paced.begin("")

    def show(progress: Progress) -> None:
        if not console.is_terminal:
            if paced.is_due("", progress):
                console.print(progress_text(progress), soft_wrap=True)
            return
        console.file.write(f"\r\x1b[2K{progress_text(progress)[: console.width - 1]}")
        console.file.flush()
        if progress.total == progress.step:
            console.file.write("\r\x1b[2K")

    return show
