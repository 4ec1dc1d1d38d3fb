"""What a trial's worker tells the driver, as Tune carries it: flat mappings of plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.records import Row
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress

Event = Literal["begin", "progress", "step", "row"]


@dataclass(frozen=True)
class Report:
    """One report.

    Args:
        event: ``begin``: a cell begins. ``progress``: it goes on. ``step``: a round or generation is done.
            ``row``: it is over.
        cell_id: The cell.
        stage: What is being done.
        step: How far it is.
        total: How far it goes, if that is known.
        seconds: Since the split began.
        metrics: Numbers worth showing; of a ``step``, accuracy on select and kernel retention among them.
        row: The row of a cell that is over.
    """

    event: Event
    cell_id: str
    stage: str = ""
    step: int = 0
    total: int | None = None
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    row: Row | None = None

    def to_result(self) -> dict[str, Any]:
        """Returns the report as a result of Tune."""
        result: dict[str, Any] = {
            "event": self.event,
            "cell_id": self.cell_id,
            "stage": self.stage,
            "at": self.step,
            "of": self.total,
            "since": self.seconds,
            "numbers": json.dumps(dict(self.metrics)),
            "row": self.row.model_dump_json() if self.row is not None else "",
        }
        return result

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Report | None:
        """Reads a result of Tune; None for one that Tune made itself."""
        if "event" not in result:
            return None
        return cls(
            event=result["event"],
            cell_id=result["cell_id"],
            stage=result["stage"],
            step=result["at"],
            total=result["of"],
            seconds=result["since"],
            metrics=json.loads(result["numbers"]),
            row=Row.model_validate_json(result["row"]) if result["row"] else None,
        )

    @property
    def progress(self) -> Progress:
        """The report as progress of the cell."""
        return Progress(self.stage, self.step, self.total, self.metrics)


def worker_config(items: Sequence[SuiteCell]) -> dict[str, Any]:
    """Returns what a worker is given to run some cells of one configuration."""
    return {"cells": [item.cell.model_dump_json() for item in items], "label": items[0].label or ""}


def is_step(progress: Progress) -> bool:
    """Says whether progress is that of a finished round or generation, with what its state is worth."""
    return progress.step > 0 and {"accuracy", "kernel_retention"} <= set(progress.metrics)
