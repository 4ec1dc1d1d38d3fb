"""Progress reports: one line redrawn in place on a terminal; elsewhere a line per milestone or minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from harness.cli.output import progress_console
from harness.runs.activity import first_metrics
from harness.views.running import stage_text
from splitters.methods.protocol import Progress, ProgressCallback

MINUTE = 60.0
"""Seconds between two lines about the same work, where lines cannot be redrawn."""

FEW_SECONDS = 5.0
"""Least seconds between any two lines of progress, where lines cannot be redrawn."""


def progress_text(progress: Progress) -> str:
    """Return a one-line summary of a report: stage, step, metrics."""
    return stage_text(progress.stage, progress.step, progress.total, first_metrics(progress))


class Pace:
    """Limits progress lines to milestones and one a minute per task, and to one every few seconds in all.

    A task without milestones has no line in its first minute.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._shown: dict[str, tuple[str, int]] = {}
        self._last_of_all = -math.inf

    def begin(self, key: str) -> None:
        """Start a piece of work."""
        self._last[key] = self._clock()
        self._shown.pop(key, None)

    def is_due(self, key: str, progress: Progress) -> bool:
        """Return whether to write a report's line now, and count it as written if so."""
        now, position = self._clock(), (progress.stage, progress.step)
        fresh = progress.milestone and self._shown.get(key) != position
        if now - self._last_of_all < FEW_SECONDS:
            return False
        if not fresh and now - self._last.setdefault(key, now) < MINUTE:
            return False
        self._last[key] = self._last_of_all = now
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
