"""Progress of running cells: live lines on a terminal, compact lines now and then elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime, timezone
from types import TracebackType
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from benchmarks.rows.row import Row, State
from harness.cli.progress import Pace, progress_text
from harness.execution import Listener
from harness.runs.activity import Activity
from harness.runs.time_left import TimeLeft
from harness.suite_cell import SuiteCell
from harness.text import printable
from harness.views.cells.reuse_tables import reuse_facts
from harness.views.quantities import duration_text
from harness.views.running import running_view
from splitters.methods.protocol import Progress

_MARKS = {State.OK: ("✓", "green"), State.SKIPPED: ("–", "dim"), State.INTERRUPTED: ("■", "yellow")}


class Display(Listener, Protocol):
    """A listener that holds the terminal while it is entered."""

    def leave(self, cell_ids: Collection[str]) -> None:
        """Cells are left to another run."""

    def __enter__(self) -> Display:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""


def make_display(console: Console, n_cells: int, time_left: TimeLeft | None = None) -> Display:
    """Return a live display for a terminal, a plain one for anything else.

    Args:
        console: Where to show it.
        n_cells: Number of cells to run.
        time_left: Estimates how long they take; by default, from those that have ended.
    """
    kind = LiveDisplay if console.is_terminal else PlainDisplay
    return kind(console, n_cells, time_left=time_left)


class _CellDisplay:
    """What both displays do: follow the run.

    Args:
        console: Where to show it.
        n_cells: Number of cells to run.
        time_left: Estimates how long they take.
    """

    def __init__(self, console: Console, n_cells: int, *, time_left: TimeLeft | None = None) -> None:
        self._console = console
        self._time_left = time_left or TimeLeft(n_cells=n_cells)
        self._activity = Activity(to_do=n_cells)
        # A live display is drawn by a thread of its own.
        self._lock = threading.Lock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def leave(self, cell_ids: Collection[str]) -> None:
        """Expect these cells no longer."""
        with self._lock:
            self._activity.to_do -= len(cell_ids)
            self._time_left.leave(cell_ids)

    def started(self, item: SuiteCell) -> None:
        """Follow the cell."""
        with self._lock:
            self._activity.start(item)
            self._time_left.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Take a report."""
        with self._lock:
            self._activity.report(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Write how the cell ended."""
        with self._lock:
            self._activity.finish(row)
            self._time_left.finished(row)

    def _now(self) -> Activity:
        """Return what the run does now."""
        with self._lock:
            left = self._time_left.seconds()
            return self._activity.model_copy(update={"seconds_left": left, "running": dict(self._activity.running)})


class PlainDisplay(_CellDisplay):
    """Writes a line per finished attempt, and compact ones about running cells: for milestones and every minute.

    Args:
        console: Where to write.
        n_cells: Number of cells to run.
        pace: When lines about running cells are due.
        time_left: Estimates how long they take.
    """

    def __init__(
        self, console: Console, n_cells: int, pace: Pace | None = None, *, time_left: TimeLeft | None = None
    ) -> None:
        super().__init__(console, n_cells, time_left=time_left)
        self._pace = pace or Pace()

    def __enter__(self) -> PlainDisplay:
        """Return the display."""
        return self

    def started(self, item: SuiteCell) -> None:
        """Show nothing yet."""
        super().started(item)
        self._pace.begin(item.cell.cell_id)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Write a line, if one is due."""
        super().progressed(item, progress)
        if self._pace.is_due(item.cell.cell_id, progress):
            line = f"… {item.title}  {progress_text(progress)}{self._others()}"
            self._console.print(line, soft_wrap=True)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Write a line."""
        super().finished(item, row)
        done = f"[{self._activity.cells_finished}/{self._activity.to_do}] "
        self._console.print(Text(done).append_text(finished_line(item, row)), soft_wrap=True)

    def _others(self) -> str:
        now = self._now()
        others, left = len(now.running) - 1, now.seconds_left
        facts = [f"{others} more running"] if others > 0 else []
        facts += [] if left is None else [f"about {duration_text(left)} left"]
        return f"  ({', '.join(facts)})" if facts else ""


class LiveDisplay(_CellDisplay):
    """One line for the run and one per running cell; finished cells scroll up.

    Args:
        console: A terminal.
        n_cells: Number of cells to run.
        time_left: Estimates how long they take.
    """

    def __init__(self, console: Console, n_cells: int, *, time_left: TimeLeft | None = None) -> None:
        super().__init__(console, n_cells, time_left=time_left)
        self._live = Live(console=console, get_renderable=self._view, transient=True)

    def __enter__(self) -> LiveDisplay:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End drawing."""
        self._live.stop()

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Remove the line, and write how the cell ended above."""
        super().finished(item, row)
        self._console.print(finished_line(item, row))

    def _view(self) -> RenderableType:
        return running_view(self._now(), datetime.now(timezone.utc))


def finished_line(item: SuiteCell, row: Row) -> Text:
    """Return a one-line summary of a finished attempt."""
    mark, style = _MARKS.get(row.state, ("✗", "red"))
    line = Text(f"{mark} ", style=style).append(f"{item.title}  ", style="default")
    facts = [duration_text(row.seconds)]
    if row.accuracy_loss is not None:
        facts.append(f"loss {100 * row.accuracy_loss:.2f} points")
    facts += reuse_facts(row)
    if row.kernel_retention is not None:
        facts.append(f"kernels {100 * row.kernel_retention:.1f} %")
    if row.warnings:
        facts.append(f"{len(row.warnings)} warning{'s' if len(row.warnings) > 1 else ''}")
    if row.state is not State.OK:
        facts = [row.state.value, printable(row.reason or row.failure_kind or "")]
    return line.append(", ".join(fact for fact in facts if fact), style="default")
