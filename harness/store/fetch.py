"""Copying results from one store to another."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from harness.store.files import Storage
from harness.store.quarantine import quarantine_path
from harness.store.result_store import ResultStore
from harness.store.row_copies import SHARED_COPY
from harness.store.row_files import DamagedFileError, decode_row

_READERS = 32

FURTHER_FOLDERS = ("curves", "sweeps")
"""Folders that sweeps keep beside their rows; their files never change either."""


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copy the row files that the target lacks, and the files of sweeps, and return the number of copied rows.

    Row files never change, so an existing file of the same size is complete. One of another size was cut short on
    either side, and is replaced if the source's can be read. A damaged file is copied as it is, once, and reported when
    the target is read.

    Args:
        source: The store to copy from; it is not changed.
        target: The store to copy to.
    """
    target.prepare()
    had_rows = bool(target.storage.files("rows"))
    n_rows = _copy_new(source, target, "rows")
    for folder in FURTHER_FOLDERS:
        _copy_new(source, target, folder)
    if not had_rows:
        # Only saves time: without it, rows are read from their files.
        with contextlib.suppress(OSError):
            target.storage.put(SHARED_COPY, source.storage.read(SHARED_COPY))
    return n_rows


def _copy_new(source: ResultStore, target: ResultStore, folder: str) -> int:
    """Copy a folder's files that the target lacks, and return how many of them are Parquet."""
    available, existing = _sizes(source.storage, folder), _sizes(target.storage, folder)
    quarantined = _sizes(target.storage, "quarantine")
    # Any other file among the rows is foreign, and is reported where the source is read.
    wanted = [path for path in available if folder != "rows" or path.endswith(".parquet")]
    # A file that is in quarantine here is copied again if the source's differs, since it was then damaged here.
    missing = [
        path for path in wanted if path not in existing and quarantined.get(quarantine_path(path)) != available[path]
    ]
    differing = [path for path in wanted if folder == "rows" and existing.get(path, available[path]) != available[path]]

    def copy(path: str) -> bool:
        data = source.storage.read(path)
        if path in existing and not _is_row(data):
            return False
        target.storage.put(path, data)
        return path.endswith(".parquet")

    with ThreadPoolExecutor(_READERS) as readers:
        return sum(readers.map(copy, [*missing, *differing]))


def _sizes(storage: Storage, folder: str) -> dict[str, int | None]:
    return {storage.relative(info): info.size for info in storage.files(folder)}


def _is_row(data: bytes) -> bool:
    try:
        decode_row(data, path="")
    except DamagedFileError:
        return False
    return True
