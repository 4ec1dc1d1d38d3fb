"""Rows of images that have changed since: they do not count for what the data set holds now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cells import Cell, DatasetSpec
from benchmarks.data.datasets import CurrentContent, current_content
from benchmarks.data.sources.source import Location
from benchmarks.rows.row import Row
from benchmarks.scenarios.scenario import make_scenario
from harness.suite_cell import SuiteCell
from splitters.errors import SplitbenchError
from splitters.methods.protocol import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class ChangedData:
    """Which rows were measured on other images than there are now.

    Args:
        attempts: Their attempts' ids.
        notes: What has changed, a sentence for each data set.
    """

    attempts: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def find_changed_data(
    cells: Sequence[SuiteCell],
    rows: Iterable[Row],
    *,
    location: Location,
    progress: ProgressCallback = ignore_progress,
) -> ChangedData:
    """Returns the rows of some cells whose data sets hold something else now.

    Only data sets in files that may change are looked at (``folder:``, ``parquet:``), and only where they are: a driver
    that does not have the images takes rows as they are.

    Args:
        cells: The cells.
        rows: The attempt that counts of each.
        location: Where to look.
        progress: Called while changed images are decoded.
    """
    by_id = {item.cell.cell_id: item.cell for item in cells}
    known: dict[str, CurrentContent | None] = {}

    def content(spec: DatasetSpec) -> CurrentContent | None:
        key = f"{spec.name} {spec.input_shape}"
        if key not in known:
            try:
                known[key] = current_content(spec, location=location, progress=progress)
            except (SplitbenchError, OSError):
                known[key] = None  # A cell that needs what is absent or damaged here reports it.
        return known[key]

    changed: Counter[str] = Counter()
    attempts = set()
    for row in rows:
        cell = by_id.get(row.cell_id)
        for spec, seen in _data_of(cell, row) if cell is not None else ():
            now = content(spec) if seen else None
            change = now.change_since(seen) if now and seen else None
            if change:
                changed[change] += 1
                attempts.add(row.attempt_id)
    notes = [
        f"{change} since {count} row{'s were' if count != 1 else ' was'} written; their cells run again."
        for change, count in changed.items()
    ]
    return ChangedData(frozenset(attempts), tuple(notes))


def _data_of(cell: Cell, row: Row) -> list[tuple[DatasetSpec, str | None]]:
    other = make_scenario(cell.scenario, cell.scenario_settings).other_dataset(cell)
    return [(cell.dataset, row.dataset_hash), *([(other, row.other_dataset_hash)] if other else [])]
