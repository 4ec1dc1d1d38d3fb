"""Progress of a sweep: a line for each stage, and in it the display of cells."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from rich.console import Console

from benchmarks.rows.row import Row
from harness.cli.runs.displays.cell_display import Display, make_display
from harness.runs.time_left import TimeLeft
from harness.suite_cell import SuiteCell
from harness.sweep.listener import SweepListener
from splitters.methods.protocol import Progress


class SweepDisplay(SweepListener):
    """Shows the stages of a sweep and their cells.

    Args:
        console: Where to write.
        time_left: Estimates how long the trials take.
    """

    def __init__(self, console: Console, time_left: TimeLeft | None = None) -> None:
        self._console = console
        self._trials_left = time_left
        self._stack = ExitStack()
        self._cells: Display | None = None

    def __enter__(self) -> SweepDisplay:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._stack.close()

    def preparation_begins(self, *, n_models: int) -> None:
        """Write a line."""
        self._begin(f"Preparing {n_models} base models.", n_models)

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Write a line."""
        at_once = f"{slots} at once" if slots > 1 else "one after the other"
        self._begin(f"{n_trials} trials to run, {at_once}; {n_cells} cells at most.", n_cells, self._trials_left)

    def scoring_begins(self, *, n_cells: int) -> None:
        """Write a line, if there is something to score."""
        if n_cells:
            self._begin(f"Scoring the chosen trials on test: {n_cells} cells.", n_cells)

    def _begin(self, line: str, n_cells: int, time_left: TimeLeft | None = None) -> None:
        self._stack.close()
        self._console.print(line, soft_wrap=True, markup=False)
        self._cells = self._stack.enter_context(make_display(self._console, n_cells, time_left))

    def started(self, item: SuiteCell) -> None:
        """Pass it on."""
        if self._cells is not None:
            self._cells.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Pass it on."""
        if self._cells is not None:
            self._cells.progressed(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Pass it on."""
        if self._cells is not None:
            self._cells.finished(item, row)
