"""A local copy of rows that were read before. Row files never change, so what was read once need not be read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from harness.row_files import READ_SCHEMA

_KEYS = ("_path", "_size", "_mtime_ns")
_WORTHWHILE = 20
"""So many newly read files are worth a new copy."""

_WRITTEN_WORTHWHILE = 200
_WRITTEN_SHARE = 0.1
"""So many rows that this process wrote, and such a share of those that are in the copy, are worth a new one."""

_SCHEMA = pa.schema(
    [*READ_SCHEMA, pa.field("_path", pa.string()), pa.field("_size", pa.int64()), pa.field("_mtime_ns", pa.int64())],
    metadata=READ_SCHEMA.metadata,
)


class RowCache:
    """The rows of one store, in one file. Losing it costs time, nothing else.

    Args:
        folder: The cache folder.
        store: Identifies the store.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self._path = folder / "rows" / f"{hashlib.sha256(store.encode()).hexdigest()[:32]}.parquet"
        self._written: list[pa.Table] = []
        self._n_kept = 0

    def load(self, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Returns those files that are as they were when they were read, and their rows in the same order."""
        self.keep_written()
        table = self._stored()
        keys = zip(*(table.column(key).to_pylist() for key in _KEYS), strict=True)
        indices = {key: index for index, key in enumerate(keys)}
        known = [info for info in infos if _key(info) in indices]
        rows = table.drop_columns(list(_KEYS)).take(pa.array([indices[_key(info)] for info in known], pa.int64()))
        return known, rows

    def save(self, infos: Sequence[fs.FileInfo], rows: pa.Table, *, n_fresh: int) -> None:
        """Replaces the copy if enough is new; a cache that cannot be written is no reason to fail.

        Args:
            infos: The files.
            rows: Their rows, in the same order.
            n_fresh: How many of them the copy does not hold yet.
        """
        if n_fresh < _WORTHWHILE:
            return
        self._replace(_with_keys(infos, rows))

    def note_written(self, info: fs.FileInfo, row: pa.Table) -> None:
        """Notes a row that this process has just written, so that a run that is killed need not read it again.

        Args:
            info: Its file.
            row: The row, as reading the file would return it.
        """
        self._written.append(_with_keys([info], row))
        if len(self._written) >= max(_WRITTEN_WORTHWHILE, _WRITTEN_SHARE * self._n_kept):
            self.keep_written()

    def keep_written(self) -> None:
        """Puts the rows that were noted into the copy."""
        if self._written:
            table = pa.concat_tables([self._stored(), *self._written])
            self._written, self._n_kept = [], table.num_rows
            self._replace(table)

    def _stored(self) -> pa.Table:
        """Returns the copy with its keys; an empty one if it is absent, torn, or of another version."""
        try:
            table = pq.read_table(self._path)
        except (pa.ArrowException, OSError):
            return _SCHEMA.empty_table()
        same = table.schema.equals(_SCHEMA) and table.schema.metadata == _SCHEMA.metadata
        return table if same else _SCHEMA.empty_table()

    def _replace(self, table: pa.Table) -> None:
        # A cache that cannot be written is no reason to fail.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
                temporary = Path(file.name)
                try:
                    pq.write_table(table.combine_chunks(), file)
                    file.close()
                    os.replace(temporary, self._path)
                finally:
                    temporary.unlink(missing_ok=True)


def _with_keys(infos: Sequence[fs.FileInfo], rows: pa.Table) -> pa.Table:
    for position, key in enumerate(_KEYS):
        column = pa.array([_key(info)[position] for info in infos], _SCHEMA.field(key).type)
        rows = rows.append_column(_SCHEMA.field(key), column)
    return rows


def _key(info: fs.FileInfo) -> tuple[str, int, int]:
    return info.path, info.size or 0, info.mtime_ns or 0
