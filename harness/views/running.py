"""Running cells, as lines with bars for a terminal and as one line of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.runs.activity import Activity, RunningCell
from harness.text import printable
from harness.views.quantities import duration_text

_BAR_WIDTH = 16
_LEAST_TITLE = 12
_SHORT = {"kernel_retention": "kernels", "jaccard_distance": "distance"}


def running_view(activity: Activity, now: datetime) -> RenderableType:
    """Return a line for the whole run, with the time left, and one per running cell.

    Args:
        activity: What the run does.
        now: The time that durations are counted to.
    """
    return _RunningView(activity, now)


class _RunningView:
    """The lines. On a narrow terminal, bars are left out first, then titles are cut, then numbers; times stay."""

    def __init__(self, activity: Activity, now: datetime) -> None:
        self._activity = activity
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells, left = self._activity.running.values(), self._activity.seconds_left
        total = _Line(
            "all cells",
            _bar(self._activity.cells_finished, self._activity.to_do),
            counts_text(self._activity),
            "" if left is None else f"about {duration_text(left)} left",
        )
        lines = [
            _Line(
                printable(cell.title),
                _bar(cell.step, cell.total),
                cell_text(cell),
                duration_text(max(0.0, (self._now - cell.since).total_seconds())),
            )
            for cell in cells
        ]
        max_width = options.max_width
        with_bars = [total, *lines]
        if sum(_widths(with_bars)) + _BAR_WIDTH + 3 <= max_width:
            yield _grid(with_bars, max_width, has_bars=True)
        else:
            # The time left is longer than a cell's time, and would take room from its numbers.
            yield _grid([total], max_width)
            yield _grid(lines, max_width)


@dataclass(frozen=True)
class _Line:
    """A line of the view: title, bar, text and time."""

    title: str
    bar: RenderableType
    text: str
    time: str


def _widths(lines: Sequence[_Line]) -> tuple[int, int, int]:
    """Return the widths of titles, texts and times."""
    columns = ([line.title for line in lines], [line.text for line in lines], [line.time for line in lines])
    title, text, time = (max(map(cell_len, column), default=0) for column in columns)
    return title, text, time


def _grid(lines: Sequence[_Line], max_width: int, *, has_bars: bool = False) -> Table:
    """Return lines as a table no wider than ``max_width``, in which titles are cut first, then texts."""
    title, text, time = _widths(lines)
    room = max_width - time - 2 - has_bars * (_BAR_WIDTH + 1)
    title = min(title, max(_LEAST_TITLE, room - text))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=title)
    if has_bars:
        table.add_column(width=_BAR_WIDTH)
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=max(1, room - title))
    table.add_column(justify="right", no_wrap=True)
    for line in lines:
        table.add_row(Text(line.title), *([line.bar] if has_bars else []), Text(line.text), Text(line.time))
    return table


def _bar(done: int, total: int | None) -> RenderableType:
    return ProgressBar(total=total, completed=min(done, total), width=_BAR_WIDTH) if total else ""


def running_line(activity: Activity) -> str:
    """Return what a run does in one line: counts, time left, and the first running cell."""
    parts = [counts_text(activity)]
    if activity.running:
        parts.append(f"{len(activity.running)} running")
    if activity.seconds_left is not None:
        parts.append(f"about {duration_text(activity.seconds_left)} left")
    line = ", ".join(parts)
    first = next(iter(activity.running.values()), None)
    return line if first is None else printable(f"{line}: {first.title}  {cell_text(first)}")


def counts_text(activity: Activity) -> str:
    """Return how many cells have ended, and how many attempts failed."""
    failed = f", {activity.failed} not ok" if activity.failed else ""
    return f"{activity.cells_finished}/{activity.to_do}{failed}"


def cell_text(cell: RunningCell) -> str:
    """Return a running cell's stage, step and metrics."""
    return stage_text(cell.stage, cell.step, cell.total, cell.metrics)


def stage_text(stage: str, step: int, total: int | None, metrics: Mapping[str, float]) -> str:
    """Return a stage, its step and metrics in one line; nothing before the first stage."""
    if not stage:
        return ""
    numbers = [f"{_SHORT.get(name, name.replace('_', ' '))} {value:.3g}" for name, value in metrics.items()]
    return printable("  ".join([f"{stage} {step}/{total}" if total else f"{stage} {step}", *numbers]))
