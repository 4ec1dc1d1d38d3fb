"""Copies of all rows in one file. Row files never change, so rows that were read once need not be read again.

There are two copies: one on this machine, and one in the store itself, for machines that read it for the first time.
Losing either only costs time, and an altered one counts as lost. A file whose row is in a copy is not opened: later
damage to it that keeps its size goes unnoticed, and does no harm as long as the copy exists.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmarks.rows.parquet_schema import READ_SCHEMA
from harness.store.files import Storage
from harness.store.row_files import no_rows, read_schema

SHARED_COPY = "copy/rows"
"""Path of the copy in a store: a Parquet file followed by its SHA-256."""

MIN_SHARED = 200
"""For fewer files a copy in the store is not read, for fewer rows it is not made."""

GROWTH = 0.1
"""A copy is renewed when this share of its rows is new."""

_MIN_READ = 20
_MIN_WRITTEN = 200
"""The copy on this machine is renewed after this many newly read files, or written rows."""

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Keys:
    """The columns of a copy, beside those of rows, that identify a row's file.

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
        """Return rows with the keys of their files.

        Args:
            infos: The file of each row.
            rows: The rows.
        """
        keys = [self.read(info) for info in infos]
        for position, field in enumerate(self.fields):
            rows = rows.append_column(field, pa.array([key[position] for key in keys], field.type))
        return rows

    def find(self, copy: pa.Table, infos: Sequence[fs.FileInfo]) -> tuple[list[fs.FileInfo], pa.Table]:
        """Return the rows of these files that are in a copy, after the file of each row."""
        names = [field.name for field in self.fields]
        keys = [self.read(info) for info in infos]
        listed = [pa.array([key[place] for key in keys], field.type) for place, field in enumerate(self.fields)]
        # The first key, the file's name, finds the file; the others say whether it is still the same.
        file = pc.index_in(copy.column(names[0]), listed[0])
        same = pc.is_valid(file)
        for name, values in zip(names[1:], listed[1:], strict=True):
            same = pc.and_(same, pc.fill_null(pc.equal(copy.column(name), values.take(file)), False))
        row = np.flatnonzero(same)
        file = file.to_numpy()[row].astype(np.int64)
        order = np.argsort(file, kind="stable")
        rows = copy.drop_columns(names)
        if len(row) < copy.num_rows or (np.diff(order) != 1).any():
            rows = rows.take(pa.array(row[order]))
        return [infos[index] for index in file[order].tolist()], rows

    def pack(self, table: pa.Table) -> bytes:
        """Return a copy as bytes."""
        sink = io.BytesIO()
        pq.write_table(table.combine_chunks(), sink)
        data = sink.getvalue()
        return data + hashlib.sha256(data).digest()

    def unpack(self, packed: bytes, columns: Collection[str] | None = None) -> pa.Table:
        """Return a copy from its bytes; an empty one if they are absent, torn, altered, or of another version.

        Args:
            packed: The bytes.
            columns: The columns of rows to return; all by default.
        """
        data, digest = memoryview(packed)[:-_DIGEST_BYTES], packed[-_DIGEST_BYTES:]
        names = [*read_schema(columns).names, *(field.name for field in self.fields)]
        with contextlib.suppress(pa.ArrowException):
            if hashlib.sha256(data).digest() == digest:
                file = pq.ParquetFile(pa.BufferReader(data))
                same = file.schema_arrow.equals(self.schema) and file.schema_arrow.metadata == self.schema.metadata
                if same:
                    return file.read(names)
        return self.schema.empty_table().select(names)


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

    def load(
        self, infos: Sequence[fs.FileInfo], columns: Collection[str] | None = None
    ) -> tuple[list[fs.FileInfo], pa.Table]:
        """Return the rows of files that are unchanged since they were read, after the file of each row."""
        self._flush()
        if not infos:
            return [], no_rows(columns)
        return _ON_DISK.find(self._stored(columns), infos)

    def save(self, infos: Sequence[fs.FileInfo], new: Sequence[fs.FileInfo], rows: pa.Table) -> None:
        """Add rows to the copy if they are enough, and leave out of it what is no longer in the store.

        Args:
            infos: All files of the store.
            new: The file of each new row.
            rows: The new rows, with all columns.
        """
        if len(new) >= _MIN_READ:
            known, stored = _ON_DISK.find(self._stored(), infos)
            self._replace(_ON_DISK.attach([*known, *new], pa.concat_tables([stored, rows])))

    def note_written(self, info: fs.FileInfo, row: pa.Table) -> None:
        """Remember a row that this process has just written, for whoever resumes this run.

        Args:
            info: Its file.
            row: The row, as reading the file would return it.
        """
        self._written.append(_ON_DISK.attach([info], row))
        if len(self._written) >= max(_MIN_WRITTEN, GROWTH * self._n_kept):
            self._flush()

    def _flush(self) -> None:
        """Add the remembered rows to the copy."""
        if self._written:
            table = pa.concat_tables([self._stored(), *self._written])
            self._written, self._n_kept = [], table.num_rows
            self._replace(table)

    def _stored(self, columns: Collection[str] | None = None) -> pa.Table:
        try:
            packed = self._path.read_bytes()
        except OSError:
            packed = b""
        return _ON_DISK.unpack(packed, columns)

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
    """The copy in the store itself. The last writer wins; rows that it lacks are read from their files.

    Args:
        storage: The store.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # When a store is copied elsewhere, times and the folder change, but the names of attempts stay unique.
        self._keys = Keys(
            (pa.field("_name", pa.string()), pa.field("_size", pa.int64())),
            lambda info: (storage.relative(info), info.size or 0),
        )

    def load(
        self, infos: Sequence[fs.FileInfo], columns: Collection[str] | None = None
    ) -> tuple[list[fs.FileInfo], pa.Table]:
        """Return the rows of these files that are in the copy, after the file of each row."""
        if len(infos) < MIN_SHARED:
            return [], no_rows(columns)
        return self._keys.find(self._stored(columns), infos)

    def renew(self, infos: Sequence[fs.FileInfo], rows: pa.Table) -> int:
        """Replace the copy if enough is new, and return how many of these rows are in it then.

        A store that does not accept it goes without.

        Args:
            infos: The file of each row.
            rows: The rows.
        """
        if len(infos) < MIN_SHARED:
            return 0
        files = list({info.path: info for info in infos}.values())
        known, _ = self._keys.find(self._stored(()), files)
        if len(infos) - len(known) < GROWTH * len(infos):
            return len(known)
        try:
            self._storage.put(SHARED_COPY, self._keys.pack(self._keys.attach(infos, rows)), durable=False)
        except OSError:
            return len(known)
        return len(infos)

    def _stored(self, columns: Collection[str] | None = None) -> pa.Table:
        try:
            packed = self._storage.read(SHARED_COPY)
        except OSError:
            packed = b""
        return self._keys.unpack(packed, columns)


_ON_DISK = Keys(
    (pa.field("_path", pa.string()), pa.field("_size", pa.int64()), pa.field("_mtime_ns", pa.int64())),
    lambda info: (info.path, info.size or 0, info.mtime_ns or 0),
)
