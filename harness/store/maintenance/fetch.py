"""Copying results from one store to another."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from harness.store.files import Storage
from harness.store.quarantine import quarantine_path
from harness.store.result_store import ResultStore
from harness.store.row_copies import SHARED_COPY
from harness.store.row_files import DamagedFileError, attempt_of, decode_rows, is_merged, read_row_files

_READERS = 32

FURTHER_FOLDERS = ("curves", "sweeps")
"""Folders that sweeps keep beside their rows; their files never change either."""


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copy the row files that the target lacks, and the files of sweeps, and return the number of copied row files.

    Row files never change, so an existing file of the same size is complete. One of another size was cut short on
    either side, and is replaced if the source's can be read. A damaged file is copied as it is, once, and reported when
    the target is read. Rows that the target has in merged files are not copied.

    Args:
        source: The store to copy from; it is not changed.
        target: The store to copy to.
    """
    target.prepare()
    had_rows = bool(target.storage.files("rows"))
    n_files = _copy_new(source, target, "rows")
    for folder in FURTHER_FOLDERS:
        _copy_new(source, target, folder)
    if not had_rows:
        # Only saves time: without it, rows are read from their files.
        with contextlib.suppress(OSError):
            target.storage.put(SHARED_COPY, source.storage.read(SHARED_COPY))
    return n_files


def _copy_new(source: ResultStore, target: ResultStore, folder: str) -> int:
    """Copy a folder's files that the target lacks, and return how many of them are Parquet."""
    known = _merged_attempts(target.storage) if folder == "rows" else frozenset()
    copied: dict[str, bool] = {}
    while True:
        existing = _sizes(target.storage, folder)
        paths = [path for path in _wanted(source, target, folder, existing) if path not in copied]

        def copy(path: str, existing: Container[str] = existing) -> bool | None:
            try:
                data = source.storage.read(path)
            except FileNotFoundError:
                return None  # The source is being compacted: the rows are in another file by now.
            if path in existing and _attempts(data) is None:
                return False
            if _is_known(path, data, known):
                return False
            target.storage.put(path, data)
            return path.endswith(".parquet")

        with ThreadPoolExecutor(_READERS) as readers:
            outcomes = dict(zip(paths, readers.map(copy, paths), strict=True))
        copied |= {path: bool(outcome) for path, outcome in outcomes.items()}
        if None not in outcomes.values():
            return sum(copied.values())


def _wanted(source: ResultStore, target: ResultStore, folder: str, existing: Mapping[str, int | None]) -> Iterator[str]:
    """Yield the paths of the source's files that the target lacks, or has in another size."""
    quarantined = _sizes(target.storage, "quarantine")
    for path, size in _sizes(source.storage, folder).items():
        # Any other file among the rows is foreign, and is reported where the source is read.
        if folder == "rows" and not path.endswith(".parquet"):
            continue
        if path in existing:
            if folder == "rows" and existing[path] != size:
                yield path
        # A file that is in quarantine here is copied again if the source's differs, since it was then damaged here.
        elif quarantined.get(quarantine_path(path)) != size:
            yield path


def _sizes(storage: Storage, folder: str) -> dict[str, int | None]:
    return {storage.relative(info): info.size for info in storage.files(folder)}


def _merged_attempts(storage: Storage) -> frozenset[str]:
    """Return the ids of all attempts in merged files."""
    infos = [info for info in storage.files("rows") if is_merged(info.path)]
    tables = [rows for rows in read_row_files(storage, infos) if isinstance(rows, pa.Table)]
    return frozenset(attempt for rows in tables for attempt in rows.column("attempt_id").to_pylist())


def _is_known(path: str, data: bytes, known: Set[str]) -> bool:
    """Return whether the target has a file's rows in its merged files."""
    if not known:
        return False
    attempts = _attempts(data) if is_merged(path) else {attempt_of(path)}
    return attempts is not None and attempts <= known


def _attempts(data: bytes) -> set[str] | None:
    """Return the ids of the attempts in a file; None if it is damaged."""
    try:
        return set(decode_rows(data, path="").column("attempt_id").to_pylist())
    except DamagedFileError:
        return None
