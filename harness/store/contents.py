"""What a store holds: its rows, and the files among them that are not rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int
from numpy.typing import NDArray

from benchmarks.rows.arrow_arrays import coded, codes_of, from_numpy, to_numpy
from benchmarks.rows.columns import Rows
from benchmarks.rows.parquet_schema import READ_SCHEMA
from benchmarks.rows.row import Row, State
from harness.suite_cell import ID_LENGTH, row_title
from splitters.errors import ConfigurationError

KEY_COLUMNS = frozenset(("cell_id", "attempt_id", "state", "started_at"))
"""Columns that say which attempt at a cell counts."""

DETAILS = ("layers", "modules", "shared_kernels", "confusions", "sensitivity", "stages", "traceback")
"""Columns that ``StoreContents.latest`` leaves out."""

LATEST_COLUMNS = frozenset(READ_SCHEMA.names) - set(DETAILS)
"""Columns that it has."""

_MAX_CANDIDATES = 10
"""Cells listed where the beginning of an id is ambiguous."""


@dataclass(frozen=True)
class DamagedFile:
    """A file among the rows that is not a row.

    Args:
        path: Its current path.
        reason: What is wrong with it.
        quarantined: Whether it has been moved to ``quarantine/``.
    """

    path: str
    reason: str
    quarantined: bool


@dataclass(frozen=True)
class Unsent:
    """Rows that the store has not accepted yet. They count, and are delivered as soon as it accepts them.

    Args:
        folder: The folder on this machine where they wait.
        n_rows: Their number.
        reason: Why the store refused them, if this process has tried.
    """

    folder: str
    n_rows: int
    reason: str | None


@dataclass(frozen=True)
class StoreContents:
    """All rows of a store, and the files that are not rows.

    Args:
        table: The rows, in no particular order.
        damaged: Files that are not rows, in ``rows/`` or already in ``quarantine/``.
        unsent: The rows among ``table`` that wait on this machine, if any.
        being_written: Paths of files that cannot be read and have changed within the last minutes.
    """

    table: pa.Table
    damaged: tuple[DamagedFile, ...]
    unsent: Unsent | None = None
    being_written: tuple[str, ...] = ()

    def attempts(self, cell_id: str) -> list[Row]:
        """Return all attempts at a cell, the oldest first."""
        of_cell = Rows(self.table.filter(pc.equal(self.table.column("cell_id"), cell_id)))
        return sorted(of_cell, key=lambda row: row.started_at)

    def cell_ids(self) -> set[str]:
        """Return the ids of all cells that have a row."""
        return set(self.table.column("cell_id").to_pylist())

    def first_starts(self) -> dict[str, datetime]:
        """Return when the first attempt at each cell began."""
        first = self.table.group_by("cell_id").aggregate([("started_at", "min")])
        return dict(zip(first.column("cell_id").to_pylist(), first.column("started_at_min").to_pylist(), strict=True))

    def latest(self) -> Rows:
        """Return the attempt that counts of each cell, without the largest columns: layers, modules and the like.

        A final attempt (``ok`` or ``skipped``) takes precedence over all others; of several, the newest counts.
        """
        known = [name for name in self.table.column_names if name not in DETAILS]
        return Rows(self.table.select(known), self._counting())

    def counting(self) -> pa.Table:
        """Return the attempt that counts of each cell, with all columns, as a table; see ``latest``."""
        return self.table.take(from_numpy(self._counting()))

    def in_full(self, cell_ids: Iterable[str]) -> Rows:
        """Return the attempt that counts of each given cell that has one, with all columns."""
        counting = self._counting()
        known = self.table.column("cell_id").take(pa.array(counting))
        found = pc.index_in(pa.array(list(cell_ids), pa.string()), known).drop_null()
        return Rows(self.table, counting[found.to_numpy()])

    def _counting(self) -> Int[NDArray[np.int64], " cell"]:
        """Return the indices of the attempts that count, in the table's order."""
        state, states = coded(self.table.column("state"))
        is_final = np.array([State(name).is_final for name in states], np.int64)[state]
        cell, _ = codes_of(self.table.column("cell_id"))
        keys = pa.table(
            {
                "cell": from_numpy(cell),
                "is_final": from_numpy(is_final),
                "started_at": self.table.column("started_at"),
            }
        )
        order = to_numpy(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
        cells = cell[order]
        # The last attempt at each cell, in this order, counts.
        return np.sort(order[np.flatnonzero(np.append(cells[1:] != cells[:-1], True))[: len(cells)]]).astype(np.int64)


def distinct_attempts(rows: pa.Table) -> pa.Table:
    """Return rows without those whose attempt occurs earlier in the table.

    An attempt may be stored twice, in its own file and in a merged one, or in two results folders.
    """
    attempt, n_attempts = codes_of(rows.column("attempt_id"))
    if n_attempts == rows.num_rows:
        return rows
    _, first = np.unique(attempt, return_index=True)
    return rows.take(from_numpy(np.sort(first)))


def union(contents: Sequence[StoreContents]) -> StoreContents:
    """Return the contents of several stores as if they were one."""
    if len(contents) == 1:
        return contents[0]
    return StoreContents(
        distinct_attempts(pa.concat_tables([part.table for part in contents]).combine_chunks()),
        tuple(file for part in contents for file in part.damaged),
        being_written=tuple(path for part in contents for path in part.being_written),
    )


def find_cell(prefix: str, stores: Mapping[str, StoreContents]) -> tuple[str, list[Row]]:
    """Return the location of the one cell whose id begins with a prefix, and all attempts at it, the counting one last.

    Args:
        prefix: The beginning of a cell's id.
        stores: Contents of stores by location; if several have the cell, the location is that of the counting attempt.

    Raises:
        ConfigurationError: If no cell's id begins like that, or several do.
    """
    prefix = prefix.strip().lower()
    known = {cell_id for contents in stores.values() for cell_id in contents.cell_ids()}
    found = sorted(cell_id for cell_id in known if cell_id.startswith(prefix))
    if not stores:
        raise ConfigurationError(
            f"there are no results in ./results, and so no cell's id begins with {prefix!r}. Name their folder with "
            "--results URI."
        )
    if not found:
        raise ConfigurationError(
            f"no cell's id begins with {prefix!r}. 'splitbench plan SUITE' lists ids; --results URI names other rows."
        )
    if len(found) > 1 or not prefix:
        shown = found[:_MAX_CANDIDATES]
        rows = [row for contents in stores.values() for row in contents.in_full(shown)]
        lines = sorted({f"  {row.cell_id[: len(prefix) + ID_LENGTH]}  {row_title(row)}" for row in rows})
        begin = "1 cell's id begins" if len(found) == 1 else f"{len(found)} cells' ids begin"
        raise ConfigurationError(f"{begin} with {prefix!r}; type more of it:\n" + "\n".join(lines))
    attempts = [(location, row) for location, contents in stores.items() for row in contents.attempts(found[0])]
    attempts.sort(key=lambda attempt: (attempt[1].state.is_final, attempt[1].started_at))
    return attempts[-1][0], [row for _, row in attempts]
