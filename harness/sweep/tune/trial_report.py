"""What a trial reports to the driver, as a flat Tune result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.rows.row import Row
from splitters.methods.protocol import Progress

Event = Literal["begin", "progress", "step", "row"]


@dataclass(frozen=True)
class Report:
    """One report of a running trial.

    Args:
        event: ``begin``: a cell begins. ``progress``: a heartbeat. ``step``: a round or generation has ended.
            ``row``: the cell has ended.
        cell_id: The cell.
        progress: The cell's progress; of a ``step``, with accuracy on select and kernel retention.
        seconds: Time since the split began.
        row: The row of a cell that has ended.
    """

    event: Event
    cell_id: str
    progress: Progress = field(default_factory=lambda: Progress("", 0))
    seconds: float = 0.0
    row: Row | None = None

    def to_result(self) -> dict[str, Any]:
        """Returns the report as a Tune result."""
        return {
            "event": self.event,
            "cell_id": self.cell_id,
            "stage": self.progress.stage,
            "at": self.progress.step,
            "of": self.progress.total,
            "since": self.seconds,
            "numbers": json.dumps(dict(self.progress.metrics)),
            "row": self.row.model_dump_json() if self.row is not None else "",
        }

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Report | None:
        """Reads a Tune result; None for the one with which Tune itself ends a trial."""
        if "event" not in result:
            return None
        return cls(
            event=result["event"],
            cell_id=result["cell_id"],
            progress=Progress(result["stage"], result["at"], result["of"], json.loads(result["numbers"])),
            seconds=result["since"],
            row=Row.model_validate_json(result["row"]) if result["row"] else None,
        )
