"""What a run does at the moment: the cells that are running, and how many have ended."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from benchmarks.rows.row import Row
from harness.suite_cell import SuiteCell

if TYPE_CHECKING:
    from splitters.methods.protocol import Progress

_MOST_METRICS = 4
"""Metrics of a progress report that fit in a line."""


class RunningCell(BaseModel):
    """A cell that is running.

    Args:
        title: Its name on screen.
        since: When it started.
        stage: The current stage.
        step: Steps done in that stage.
        total: Steps of that stage, if known.
        metrics: The first metrics that the stage reported last, such as ``accuracy`` and ``kernel_retention``.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    since: AwareDatetime
    stage: str = ""
    step: int = 0
    total: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Activity(BaseModel):
    """What a run does at the moment.

    Args:
        to_do: Number of cells that the run means to run.
        finished: Number of attempts that have ended.
        failed: Number of those that ended neither ``ok`` nor ``skipped``.
        cells_finished: Number of cells with at least one of them.
        running: The cells that are running, by id.
        seconds_left: Estimated time until the run ends; None where there is nothing to estimate it from.
    """

    to_do: int
    finished: int = 0
    failed: int = 0
    cells_finished: int = 0
    running: dict[str, RunningCell] = Field(default_factory=dict)
    seconds_left: float | None = None
    _ended: set[str] = set()

    def start(self, item: SuiteCell) -> None:
        """Record that a cell has started."""
        self.running[item.cell.cell_id] = RunningCell(title=item.title, since=datetime.now(timezone.utc))

    def report(self, item: SuiteCell, progress: Progress) -> None:
        """Record the progress of a cell. Reports without metrics keep those of their stage."""
        known = self.running.get(item.cell.cell_id)
        if known is None:
            return
        shown = first_metrics(progress)
        fields = {
            "stage": progress.stage,
            "step": progress.step,
            "total": progress.total,
            "metrics": shown or (known.metrics if known.stage == progress.stage else {}),
        }
        self.running[item.cell.cell_id] = known.model_copy(update=fields)

    def finish(self, row: Row) -> None:
        """Record that an attempt has ended and its row is stored."""
        self.running.pop(row.cell_id, None)
        self.finished += 1
        self.failed += not row.state.is_final
        self._ended.add(row.cell_id)
        self.cells_finished = len(self._ended)


def first_metrics(progress: Progress) -> dict[str, float]:
    """Return the first metrics of a progress report, as many as fit in a line."""
    return dict(list(progress.metrics.items())[:_MOST_METRICS])
