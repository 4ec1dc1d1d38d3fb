"""Outdated rows: those of images that have changed since, which say nothing about the data set as it is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cells import DatasetSpec, ImageShape
from benchmarks.data.datasets import CurrentContent, current_content
from benchmarks.data.sources.source import Location
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row
from harness.planning.missing_data import NeededData
from harness.suite_cell import SuiteCell
from splitters.errors import SplitbenchError
from splitters.methods.protocol import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class OutdatedRows:
    """Rows that were measured on other images than the data sets hold now.

    Args:
        attempts: Ids of their attempts.
        notes: What has changed, one sentence per data set.
    """

    attempts: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def find_outdated_rows(
    cells: Sequence[SuiteCell],
    rows: Iterable[Row],
    *,
    location: Location,
    progress: ProgressCallback = ignore_progress,
) -> OutdatedRows:
    """Return the rows whose data sets hold other images now.

    Only data sets in the user's files (``folder:``, ``parquet:``) are checked, and only if this machine has them; a
    driver without the images takes rows as they are.

    Args:
        cells: The cells.
        rows: The attempt that counts of each.
        location: Where to look.
        progress: Called while changed images are decoded.
    """
    by_id = {item.cell.cell_id: item.cell for item in cells}
    known: dict[tuple[str, ImageShape], CurrentContent | None] = {}

    def content(spec: DatasetSpec) -> CurrentContent | None:
        key = (spec.name, spec.input_shape)
        if key not in known:
            try:
                known[key] = current_content(spec, location=location, progress=progress)
            except (SplitbenchError, OSError):
                known[key] = None  # A cell that needs what is absent or damaged here reports it.
        return known[key]

    changes: Counter[str] = Counter()
    attempts = set()
    found, needed = Rows.of(rows), NeededData()
    names = ("cell_id", "attempt_id", "dataset_hash", "other_dataset_hash")
    for cell_id, attempt, *hashes in zip(*map(found.values, names), strict=True):
        cell = by_id.get(cell_id)
        for spec, known_hash in zip(needed(cell), hashes, strict=False) if cell is not None else ():
            now = content(spec) if known_hash else None
            change = now.change_since(known_hash) if now and known_hash else None
            if change:
                changes[change] += 1
                attempts.add(attempt)
    notes = [
        f"{change} since {count} row{'s were' if count != 1 else ' was'} written; their cells run again."
        for change, count in changes.items()
    ]
    return OutdatedRows(frozenset(attempts), tuple(notes))
