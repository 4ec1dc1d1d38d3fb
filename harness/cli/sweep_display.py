"""What goes on while a sweep runs: the cells' own lines, and how many trials run at once."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console

from benchmarks.records import Row
from harness.cli.display import Display, make_display
from harness.suite_cell import SuiteCell
from harness.sweep.run import SweepListener
from splitters.base import Progress


class SweepDisplay(SweepListener):
    """Shows cells as any run does, after a line that says how many trials run at once.

    Args:
        console: Where to write.
        display: Shows cells.
    """

    def __init__(self, console: Console, display: Display) -> None:
        self._console = console
        self._display = display

    def __enter__(self) -> SweepDisplay:
        """Begins."""
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the terminal back."""
        self._display.__exit__(kind, error, trace)

    def concurrent(self, slots: int, n_trials: int) -> None:
        """Writes a line."""
        self._console.print(f"{n_trials} trials to run, {slots} at once.", soft_wrap=True)

    def started(self, item: SuiteCell) -> None:
        """Passes it on."""
        self._display.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Passes it on."""
        self._display.progressed(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Passes it on."""
        self._display.finished(item, row)


def make_sweep_display(console: Console, n_cells: int) -> SweepDisplay:
    """Returns the display that suits the console.

    Args:
        console: Where to show it.
        n_cells: How many cells there are to run at most.
    """
    return SweepDisplay(console, make_display(console, n_cells))
