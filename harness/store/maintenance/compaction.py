"""Compaction: many small row files become a few larger ones."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import fs

from benchmarks.rows.row import OBSOLETE_COLUMNS
from harness.store.contents import distinct_attempts
from harness.store.files import Storage
from harness.store.result_store import ResultStore
from harness.store.row_files import decode_rows, encode_merged, merged_path, read_row_files

MAX_SOURCE_BYTES = 64 << 20
"""Larger files are not read to be merged."""

SETTLE_SECONDS = 5.0
"""How long the sources stay beside their merged file: readers that had begun to list files have finished by then."""

_MAX_ROWS = 10_000
"""Files that are merged into one at most. A file with half as many rows is large enough, and is not merged again."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did.

    Args:
        n_files_before: Number of row files before.
        n_files_after: Number of row files now.
        n_rows: Number of rows in the merged files that were written.
    """

    n_files_before: int
    n_files_after: int
    n_rows: int


@dataclass(frozen=True)
class _Batch:
    """Files to merge into one.

    Args:
        folder: The partition's folder.
        paths: The files.
        rows: Their rows, each attempt once.
    """

    folder: str
    paths: tuple[str, ...]
    rows: pa.Table


def compact(store: ResultStore, *, settle_seconds: float = SETTLE_SECONDS) -> Compaction:
    """Merge the small row files of each partition, without changing a value.

    Runs may write and others may read meanwhile: a merged file is complete, and was compared with its sources, before
    any of these is removed. Where both exist, because this was interrupted, say, rows are in the store twice and are
    read once. Files that cannot be read, and rows of formats with columns that were removed since, stay as they are.

    Args:
        store: The store.
        settle_seconds: How long to keep the sources after the merged files are written.

    Raises:
        OSError: If the store cannot be read or written. No row is lost.
    """
    infos = store.storage.files("rows")
    batches = list(_batches(store.storage, infos))
    for batch in batches:
        write_merged(store.storage, batch.folder, batch.rows)
    if batches:
        time.sleep(settle_seconds)
    removed = [path for batch in batches for path in batch.paths]
    store.storage.delete_all(removed)
    return Compaction(len(infos), len(infos) + len(batches) - len(removed), sum(b.rows.num_rows for b in batches))


def write_merged(storage: Storage, folder: str, rows: pa.Table) -> None:
    """Write rows of one partition as a merged file, and check it.

    Raises:
        OSError: If it cannot be written, or is not what was written.
    """
    path = merged_path(folder)
    storage.put(path, encode_merged(rows))
    if not decode_rows(storage.read(path), path=path).equals(rows):
        storage.delete(path)
        raise OSError(f"{path}: what was read back is not what was written; its sources are unchanged.")


def _batches(storage: Storage, infos: Sequence[fs.FileInfo]) -> Iterator[_Batch]:
    """Yield the files that are worth merging."""
    by_folder: defaultdict[str, list[fs.FileInfo]] = defaultdict(list)
    for info in sorted(infos, key=lambda info: str(info.path)):
        if (info.size or 0) <= MAX_SOURCE_BYTES and info.path.endswith(".parquet"):
            by_folder[storage.relative(info).rpartition("/")[0]].append(info)
    for folder, members in by_folder.items():
        for start in range(0, len(members), _MAX_ROWS):
            part = members[start : start + _MAX_ROWS]
            found = [
                (storage.relative(info), rows)
                for info, rows in zip(part, read_row_files(storage, part), strict=True)
                if isinstance(rows, pa.Table) and rows.num_rows <= _MAX_ROWS // 2 and _keeps_everything(rows)
            ]
            if len(found) > 1:
                yield _batch(folder, [path for path, _ in found], [rows for _, rows in found])


def _keeps_everything(rows: pa.Table) -> bool:
    """Return whether rows are of formats whose columns all exist today."""
    return bool(min(rows.column("row_format").to_pylist()) > max(OBSOLETE_COLUMNS.values()))


def _batch(folder: str, paths: Sequence[str], tables: Sequence[pa.Table]) -> _Batch:
    rows = distinct_attempts(pa.concat_tables(tables)).combine_chunks()
    return _Batch(folder, tuple(paths), rows.sort_by([("cell_id", "ascending"), ("started_at", "ascending")]))
