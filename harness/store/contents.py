"""What a store holds: its rows, and the files among them that are not rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from benchmarks.rows.parquet_schema import ROW_SCHEMA
from benchmarks.rows.row import Row, State
from harness.suite_cell import ID_LENGTH, row_title
from splitters.errors import ConfigurationError

_DETAILS = ("layers", "modules", "shared_kernels", "confusions", "sensitivity", "stages", "traceback")
"""Columns that ``StoreContents.latest`` leaves out."""

_MAX_CANDIDATES = 10
"""Cells listed where the beginning of an id is ambiguous."""

_NULLABLE = frozenset(field.name for field in ROW_SCHEMA if field.nullable)


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
        ids = self.table.column("cell_id").to_pylist()
        rows = _rows(_take(self.table, [index for index, known in enumerate(ids) if known == cell_id]))
        return sorted(rows, key=lambda row: row.started_at)

    def cell_ids(self) -> set[str]:
        """Return the ids of all cells that have a row."""
        return set(self.table.column("cell_id").to_pylist())

    def latest(self) -> list[Row]:
        """Return the attempt that counts of each cell, without the largest columns: layers, modules and the like.

        A final attempt (``ok`` or ``skipped``) takes precedence over all others; of several, the newest counts.
        """
        return _rows(self.counting().drop_columns(list(_DETAILS)))

    def counting(self) -> pa.Table:
        """Return the attempt that counts of each cell, with all columns, as a table; see ``latest``."""
        return _take(self.table, list(self._counting().values()))

    def in_full(self, cell_ids: Iterable[str]) -> list[Row]:
        """Return the attempt that counts of each given cell that has one, with all columns."""
        counting = self._counting()
        return _rows(_take(self.table, [counting[cell_id] for cell_id in cell_ids if cell_id in counting]))

    def _counting(self) -> dict[str, int]:
        """Return the index of the attempt that counts by cell, in the table's order."""
        keys = zip(*(self.table.column(name).to_pylist() for name in ("cell_id", "state", "started_at")), strict=True)
        best: dict[str, tuple[bool, object, int]] = {}
        for index, (cell_id, state, started_at) in enumerate(keys):
            rank = (State(state).is_final, started_at, index)
            if cell_id not in best or rank > best[cell_id]:
                best[cell_id] = rank
        return dict(sorted(((cell_id, rank[2]) for cell_id, rank in best.items()), key=lambda entry: entry[1]))


def distinct_attempts(rows: pa.Table) -> pa.Table:
    """Return rows without those whose attempt occurs earlier in the table.

    An attempt may be stored twice, in its own file and in a merged one, or in two results folders.
    """
    first = {attempt: index for index, attempt in reversed(list(enumerate(rows.column("attempt_id").to_pylist())))}
    return rows if len(first) == rows.num_rows else _take(rows, sorted(first.values()))


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
    prefix = prefix.lower()
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
    if len(found) > 1:
        shown = found[:_MAX_CANDIDATES]
        rows = [row for contents in stores.values() for row in contents.in_full(shown)]
        lines = sorted({f"  {row.cell_id[: len(prefix) + ID_LENGTH]}  {row_title(row)}" for row in rows})
        raise ConfigurationError(
            f"{len(found)} cells' ids begin with {prefix!r}; type more of it:\n" + "\n".join(lines)
        )
    attempts = [(location, row) for location, contents in stores.items() for row in contents.attempts(found[0])]
    attempts.sort(key=lambda attempt: (attempt[1].state.is_final, attempt[1].started_at))
    return attempts[-1][0], [row for _, row in attempts]


def _take(table: pa.Table, indices: list[int]) -> pa.Table:
    return table.take(pa.array(indices, pa.int64()))


def _rows(table: pa.Table) -> list[Row]:
    # A column that did not exist yet when a row was written is null; where null is not a value, the default holds.
    return [
        Row.model_validate({name: value for name, value in record.items() if value is not None or name in _NULLABLE})
        for record in table.to_pylist()
    ]
