"""Running cells, as lines with bars for a terminal and as one line of text."""

from __future__ import annotations

from collections.abc import Mapping
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
_SHORT = {"kernel_retention": "kernels", "jaccard_distance": "distance", "lowest_accuracy": "lowest accuracy"}


def running_view(activity: Activity, now: datetime) -> RenderableType:
    """Return a line for the whole run, with the time left, and one per running cell.

    Args:
        activity: What the run does.
        now: The time that durations are counted to.
    """
    return _RunningView(activity, now)


class _RunningView:
    """The lines. On a narrow terminal, bars are left out first, and titles are cut before numbers are."""

    def __init__(self, activity: Activity, now: datetime) -> None:
        self._activity = activity
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells, left = self._activity.running.values(), self._activity.seconds_left
        titles = ["all cells", *(printable(cell.title) for cell in cells)]
        bars = [_bar(self._activity.cells_finished, self._activity.to_do), *(_bar(c.step, c.total) for c in cells)]
        texts = [counts_text(self._activity), *(cell_text(cell) for cell in cells)]
        times = ["" if left is None else f"about {duration_text(left)} left"]
        times += [duration_text(max(0.0, (self._now - cell.since).total_seconds())) for cell in cells]
        room = options.max_width - max(map(cell_len, texts)) - max(map(cell_len, times)) - 3
        has_bars = room >= max(map(cell_len, titles)) + _BAR_WIDTH + 1
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(
            overflow="ellipsis", no_wrap=True, max_width=max(_LEAST_TITLE, room - has_bars * (_BAR_WIDTH + 1))
        )
        if has_bars:
            table.add_column(width=_BAR_WIDTH)
        table.add_column(overflow="ellipsis", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for title, bar, text, time in zip(titles, bars, texts, times, strict=True):
            table.add_row(Text(title), *([bar] if has_bars else []), Text(text), Text(time))
        yield table


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
    numbers = [f"{_SHORT.get(name, name)} {value:.3g}" for name, value in metrics.items()]
    return printable("  ".join([f"{stage} {step}/{total}" if total else f"{stage} {step}", *numbers]))
