"""Progress of running cells: live lines on a terminal, a line per finished cell elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from benchmarks.rows.row import Row, State
from harness.cli.progress import Pace, progress_text
from harness.execution import Listener
from harness.suite_cell import SuiteCell
from harness.text import printable
from harness.views.cells.reuse_tables import reuse_facts
from harness.views.quantities import duration_text
from splitters.methods.protocol import Progress

_MARKS = {State.OK: ("✓", "green"), State.SKIPPED: ("–", "dim"), State.INTERRUPTED: ("■", "yellow")}


class Display(Listener, Protocol):
    """A listener that holds the terminal while it is entered."""

    def __enter__(self) -> Display:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""


def make_display(console: Console, n_cells: int) -> Display:
    """Return a live display for a terminal, a plain one for anything else.

    Args:
        console: Where to show it.
        n_cells: Number of cells to run.
    """
    return LiveDisplay(console, n_cells) if console.is_terminal else PlainDisplay(console, n_cells)


class PlainDisplay:
    """Writes a line per finished attempt and per milestone, and one a minute for cells without milestones.

    Args:
        console: Where to write.
        n_cells: Number of cells to run.
        pace: When lines about running cells are due.
    """

    def __init__(self, console: Console, n_cells: int, pace: Pace | None = None) -> None:
        self._console = console
        self._n_cells = n_cells
        self._pace = pace or Pace()
        self._finished: set[str] = set()

    def __enter__(self) -> PlainDisplay:
        """Return the display."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def started(self, item: SuiteCell) -> None:
        """Show nothing yet."""
        self._pace.begin(item.cell.cell_id)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Write a line, if one is due."""
        if self._pace.is_due(item.cell.cell_id, progress):
            self._console.print(f"… {item.title}  {progress_text(progress)}", soft_wrap=True)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Write a line."""
        self._finished.add(row.cell_id)
        line = Text(f"[{len(self._finished)}/{self._n_cells}] ").append_text(finished_line(item, row))
        self._console.print(line, soft_wrap=True)


class LiveDisplay:
    """One line per running cell, with its stage, how far it is, and its numbers; finished cells scroll up.

    Args:
        console: A terminal.
        n_cells: Number of cells to run.
    """

    def __init__(self, console: Console, n_cells: int) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("all cells", total=n_cells, detail=f"0/{n_cells}")
        self._n_cells = n_cells
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> LiveDisplay:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End drawing."""
        self._bars.stop()

    def started(self, item: SuiteCell) -> None:
        """Add a line."""
        self._drop(item)
        self._tasks[item.cell.cell_id] = self._bars.add_task(item.title, total=None, detail="")

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Change the line."""
        task = self._tasks.get(item.cell.cell_id)
        if task is not None:
            self._bars.update(task, completed=progress.step, total=progress.total, detail=progress_text(progress))

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Remove the line, and writes how the cell ended above."""
        self._drop(item)
        self._finished.add(row.cell_id)
        self._bars.update(self._all, completed=len(self._finished), detail=f"{len(self._finished)}/{self._n_cells}")
        self._bars.console.print(finished_line(item, row))

    def _drop(self, item: SuiteCell) -> None:
        task = self._tasks.pop(item.cell.cell_id, None)
        if task is not None:
            self._bars.remove_task(task)


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
