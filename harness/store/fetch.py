"""Copying results from one folder to another."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from harness.store.files import Storage
from harness.store.local_copies import SHARED_COPY
from harness.store.result_store import ResultStore, quarantine_path
from harness.store.row_format import DamagedFileError, decode_row

_READERS = 32

FURTHER_FOLDERS = ("curves", "sweeps")
"""What sweeps keep beside their rows, in files that never change either."""


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copies the row files that the target does not have, and returns how many they were; what belongs to them too.

    Row files never change, so a file of the same size that is there already is as it should be. One of another size was
    cut short here or there, and is replaced if the source's can be read. A damaged file is copied as it is, once, and
    reported when the target is read.

    Args:
        source: Where rows come from; nothing is changed there.
        target: Where they go.
    """
    target.prepare()
    had_rows = bool(target.storage.files("rows"))
    n_rows = _copy_new(source, target, "rows")
    for folder in FURTHER_FOLDERS:
        _copy_new(source, target, folder)
    if not had_rows:
        # Only spares time: without it the rows are read from their files.
        with contextlib.suppress(OSError):
            target.storage.put(SHARED_COPY, source.storage.read(SHARED_COPY))
    return n_rows


def _copy_new(source: ResultStore, target: ResultStore, folder: str) -> int:
    """Copies a folder's files that the target does not have, and returns how many of them are Parquet."""
    there, here, quarantined = (
        _sizes(source.storage, folder), _sizes(target.storage, folder), _sizes(target.storage, "quarantine")
    )  # fmt: skip
    # What else lies among the rows is foreign, and reported by the source's own reader.
    wanted = [path for path in there if folder != "rows" or path.endswith(".parquet")]
    # A file that was found damaged here comes again if it is another one there: then the damage is this machine's.
    missing = [path for path in wanted if path not in here and quarantined.get(quarantine_path(path)) != there[path]]
    differing = [path for path in wanted if folder == "rows" and path in here and here[path] != there[path]]

    def copy(path: str) -> bool:
        data = source.storage.read(path)
        if path in here and not _is_row(data):
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
