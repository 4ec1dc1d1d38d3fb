"""The cells that a run leaves to other runs, for the terminal and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.runs.record import RunRecord

Left = Mapping[str, RunRecord]
"""Each cell that was left, with the run that has declared it."""


def left_text(left: Left, *, way_out: str = "run again later, or use --shard") -> str:
    """Return a line for each other run to which cells were left."""
    lines = []
    for record, cell_ids in _by_run(left):
        cells = "1 cell is" if len(cell_ids) == 1 else f"{len(cell_ids)} cells are"
        since = f"{record.started_at:%Y-%m-%d %H:%M} UTC"
        lines.append(f"{cells} being run by {record.hostname} since {since}; {way_out}.")
    return "\n".join(lines)


def left_objects(left: Left) -> list[dict[str, Any]]:
    """Return the other runs and the cells that were left to them, as plain values."""
    return [
        {
            "run_id": record.run_id,
            "hostname": record.hostname,
            "started_at": record.started_at.isoformat(),
            "cell_ids": cell_ids,
        }
        for record, cell_ids in _by_run(left)
    ]


def _by_run(left: Left) -> list[tuple[RunRecord, list[str]]]:
    found: dict[str, tuple[RunRecord, list[str]]] = {}
    for cell_id, record in left.items():
        found.setdefault(record.run_id, (record, []))[1].append(cell_id)
    return list(found.values())
