"""What goes on while cells run: live lines on a terminal, a line per finished cell elsewhere."""

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
from harness.views.quantities import duration_text
from harness.views.reuse_tables import reuse_facts
from splitters.methods.protocol import Progress

_MARKS = {State.OK: ("✓", "green"), State.SKIPPED: ("–", "dim"), State.INTERRUPTED: ("■", "yellow")}


class Display(Listener, Protocol):
    """A listener that holds the terminal while it is entered."""

    def __enter__(self) -> Display:
        """Begins."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the terminal back."""


def make_display(console: Console, n_cells: int) -> Display:
    """Returns the display that suits the console.

    Args:
        console: Where to show it.
        n_cells: How many cells are to be run.
    """
    return LiveDisplay(console, n_cells) if console.is_terminal else PlainDisplay(console, n_cells)


class PlainDisplay:
    """One line per attempt that is over, one per milestone of a running one, and one a minute if it has none.

    Args:
        console: Where to write.
        n_cells: How many cells are to be run.
        pace: When lines about running cells are due.
    """

    def __init__(self, console: Console, n_cells: int, pace: Pace | None = None) -> None:
        self._console = console
        self._n_cells = n_cells
        self._pace = pace or Pace()
        self._over: set[str] = set()

    def __enter__(self) -> PlainDisplay:
        """Returns the display."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does nothing."""

    def started(self, item: SuiteCell) -> None:
        """Shows nothing yet."""
        self._pace.begin(item.cell.cell_id)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Writes a line, if one is due."""
        if self._pace.is_due(item.cell.cell_id, progress):
            self._console.print(f"… {item.title}  {progress_text(progress)}", soft_wrap=True)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Writes a line."""
        self._over.add(row.cell_id)
        line = Text(f"[{len(self._over)}/{self._n_cells}] ").append_text(finished_line(item, row))
        self._console.print(line, soft_wrap=True)


class LiveDisplay:
    """One line per running cell, with its stage, how far it is, and its numbers; finished cells scroll up.

    Args:
        console: A terminal.
        n_cells: How many cells are to be run.
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
        self._over: set[str] = set()

    def __enter__(self) -> LiveDisplay:
        """Begins to draw."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends drawing."""
        self._bars.stop()

    def started(self, item: SuiteCell) -> None:
        """Adds a line."""
        self._drop(item)
        self._tasks[item.cell.cell_id] = self._bars.add_task(item.title, total=None, detail="")

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Changes the line."""
        task = self._tasks.get(item.cell.cell_id)
        if task is not None:
            self._bars.update(task, completed=progress.step, total=progress.total, detail=progress_text(progress))

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Removes the line, and writes how the cell ended above."""
        self._drop(item)
        self._over.add(row.cell_id)
        self._bars.update(self._all, completed=len(self._over), detail=f"{len(self._over)}/{self._n_cells}")
        self._bars.console.print(finished_line(item, row))

    def _drop(self, item: SuiteCell) -> None:
        task = self._tasks.pop(item.cell.cell_id, None)
        if task is not None:
            self._bars.remove_task(task)


def finished_line(item: SuiteCell, row: Row) -> Text:
    """Returns how an attempt ended, in one line."""
    mark, style = _MARKS.get(row.state, ("✗", "red"))
    line = Text(f"{mark} ", style=style).append(f"{item.title}  ", style="default")
    facts = [duration_text(row.seconds)]
    if row.accuracy_loss is not None:
        facts.append(f"loss {100 * row.accuracy_loss:.2f} points")
    facts += reuse_facts(row)
    if row.kernel_retention is not None:
        facts.append(f"kernels {100 * row.kernel_retention:.1f} %")
    if row.state is not State.OK:
        facts = [row.state.value, printable(row.reason or row.failure_kind or "")]
    return line.append(", ".join(fact for fact in facts if fact), style="default")
