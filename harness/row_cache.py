"""A local copy of rows that were read before. Row files never change, so what was read once need not be read again."""

from __future__ import annotations

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

    def load(self, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Returns those files that are as they were when they were read, and their rows in the same order."""
        try:
            table = pq.read_table(self._path)
        except (pa.ArrowException, OSError):
            return [], READ_SCHEMA.empty_table()
        if not table.schema.equals(_SCHEMA) or table.schema.metadata != _SCHEMA.metadata:
            return [], READ_SCHEMA.empty_table()
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
        for position, key in enumerate(_KEYS):
            column = pa.array([_key(info)[position] for info in infos], _SCHEMA.field(key).type)
            rows = rows.append_column(_SCHEMA.field(key), column)
        try:
            self._replace(rows)
        except OSError:
            return

    def _replace(self, table: pa.Table) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            temporary = Path(file.name)
            try:
                pq.write_table(table.combine_chunks(), file)
                file.close()
                os.replace(temporary, self._path)
            finally:
                temporary.unlink(missing_ok=True)


def _key(info: fs.FileInfo) -> tuple[str, int, int]:
    return info.path, info.size or 0, info.mtime_ns or 0
