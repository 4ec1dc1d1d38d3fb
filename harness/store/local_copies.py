"""Copies of rows that were read before. Row files never change, so what was read once need not be read again.

There are two: one on this machine, and one in the store itself, for machines that see it for the first time. Losing
either costs time, nothing else, and one that was altered counts as lost. A file whose row a copy holds is not opened:
damage done to it later that keeps its size is not seen, and does no harm while the copy is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from harness.store.files import Storage
from harness.store.row_format import READ_SCHEMA

SHARED_COPY = "copy/rows"
"""Where a store has its copy: Parquet, and behind it the SHA-256 of it."""

SHARED_WORTHWHILE = 200
"""A copy in the store is not looked for, and not made, for the sake of fewer files."""

_WORTHWHILE = 20
"""So many newly read files are worth a new copy on this machine."""

_WRITTEN_WORTHWHILE = 200
_DIGEST_BYTES = hashlib.sha256().digest_size
GROWTH = 0.1
"""Such a share of the rows in a copy must be new for a new copy to be worth its while."""


@dataclass(frozen=True)
class Keys:
    """What identifies a row's file: columns beside the row's own.

    Args:
        fields: The columns.
        read: Returns a file's values for them.
    """

    fields: tuple[pa.Field, ...]
    read: Callable[[fs.FileInfo], tuple[Any, ...]]

    @property
    def schema(self) -> pa.Schema:
        """The schema of a copy."""
        return pa.schema([*READ_SCHEMA, *self.fields], metadata=READ_SCHEMA.metadata)

    def attach(self, infos: Sequence[fs.FileInfo], rows: pa.Table) -> pa.Table:
        """Returns rows, in the order of their files, with the files' keys."""
        keys = [self.read(info) for info in infos]
        for position, field in enumerate(self.fields):
            rows = rows.append_column(field, pa.array([key[position] for key in keys], field.type))
        return rows

    def find(self, copy: pa.Table, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Returns the files that a copy holds, and their rows in the same order."""
        names = [field.name for field in self.fields]
        stored = zip(*(copy.column(name).to_pylist() for name in names), strict=True)
        indices = {key: index for index, key in enumerate(stored)}
        found = [(info, indices[key]) for info in infos if (key := self.read(info)) in indices]
        rows = copy.drop_columns(names).take(pa.array([index for _, index in found], pa.int64()))
        return [info for info, _ in found], rows

    def pack(self, table: pa.Table) -> bytes:
        """Returns a copy with its keys as bytes."""
        sink = io.BytesIO()
        pq.write_table(table.combine_chunks(), sink)
        data = sink.getvalue()
        return data + hashlib.sha256(data).digest()

    def unpack(self, packed: bytes) -> pa.Table:
        """Returns a copy with its keys; an empty one if it is absent, torn, altered, or of another version."""
        data, digest = packed[:-_DIGEST_BYTES], packed[-_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return self.schema.empty_table()
        try:
            table = pq.read_table(pa.BufferReader(data))
        except pa.ArrowException:
            return self.schema.empty_table()
        same = table.schema.equals(self.schema) and table.schema.metadata == self.schema.metadata
        return table if same else self.schema.empty_table()


class RowCache:
    """The copy on this machine.

    Args:
        folder: The cache folder.
        store: Identifies the store.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self._path = folder / "rows" / hashlib.sha256(store.encode()).hexdigest()[:32]
        self._written: list[pa.Table] = []
        self._n_kept = 0

    def load(self, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Returns those files that are as they were when they were read, and their rows in the same order."""
        self.keep_written()
        return _ON_DISK.find(self._stored(), infos)

    def save(self, infos: Sequence[fs.FileInfo], rows: pa.Table, *, n_fresh: int) -> None:
        """Replaces the copy if enough is new; a cache that cannot be written is no reason to fail.

        Args:
            infos: The files.
            rows: Their rows, in the same order.
            n_fresh: How many of them the copy does not hold yet.
        """
        if n_fresh < _WORTHWHILE:
            return
        self._replace(_ON_DISK.attach(infos, rows))

    def note_written(self, info: fs.FileInfo, row: pa.Table) -> None:
        """Notes a row that this process has just written, so that a run that is killed need not read it again.

        Args:
            info: Its file.
            row: The row, as reading the file would return it.
        """
        self._written.append(_ON_DISK.attach([info], row))
        if len(self._written) >= max(_WRITTEN_WORTHWHILE, GROWTH * self._n_kept):
            self.keep_written()

    def keep_written(self) -> None:
        """Puts the rows that were noted into the copy."""
        if self._written:
            table = pa.concat_tables([self._stored(), *self._written])
            self._written, self._n_kept = [], table.num_rows
            self._replace(table)

    def _stored(self) -> pa.Table:
        try:
            packed = self._path.read_bytes()
        except OSError:
            packed = b""
        return _ON_DISK.unpack(packed)

    def _replace(self, table: pa.Table) -> None:
        # A cache that cannot be written is no reason to fail.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
                temporary = Path(file.name)
                try:
                    file.write(_ON_DISK.pack(table))
                    file.close()
                    os.replace(temporary, self._path)
                finally:
                    temporary.unlink(missing_ok=True)


class SharedCopy:
    """The copy in the store itself. Whoever replaces it last wins: rows that it lacks are read from their files.

    Args:
        storage: The store.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # A store may be copied elsewhere, and then times and the folder differ; attempts' names stay one of a kind.
        self._keys = Keys(
            (pa.field("_name", pa.string()), pa.field("_size", pa.int64())),
            lambda info: (storage.relative(info), info.size or 0),
        )

    def load(self, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Returns those files whose rows the copy holds, and their rows in the same order."""
        if len(infos) < SHARED_WORTHWHILE:
            return [], READ_SCHEMA.empty_table()
        return self._keys.find(self._stored(), infos)

    def offer(self, infos: Sequence[fs.FileInfo], rows: pa.Table) -> int:
        """Replaces the copy if enough is new, and returns how many of these rows it holds then.

        A store that does not take it may do without.

        Args:
            infos: The files.
            rows: Their rows, in the same order.
        """
        if len(infos) < SHARED_WORTHWHILE:
            return 0
        known, _ = self._keys.find(self._stored(), infos)
        if len(infos) - len(known) < GROWTH * len(infos):
            return len(known)
        try:
            self._storage.put(SHARED_COPY, self._keys.pack(self._keys.attach(infos, rows)), durable=False)
        except OSError:
            return len(known)
        return len(infos)

    def _stored(self) -> pa.Table:
        try:
            packed = self._storage.read(SHARED_COPY)
        except OSError:
            packed = b""
        return self._keys.unpack(packed)


_ON_DISK = Keys(
    (pa.field("_path", pa.string()), pa.field("_size", pa.int64()), pa.field("_mtime_ns", pa.int64())),
    lambda info: (info.path, info.size or 0, info.mtime_ns or 0),
)
