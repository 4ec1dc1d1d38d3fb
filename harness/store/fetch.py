"""Copying results from one folder to another."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from harness.store.copies import SHARED_COPY
from harness.store.files import TEMPORARY
from harness.store.result_store import ResultStore

_READERS = 32

FURTHER_FOLDERS = ("curves", "sweeps")
"""What sweeps keep beside their rows, in files that never change either."""


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copies the row files that the target does not have, and returns how many they were; what belongs to them too.

    Row files never change, so a file that is there already is as it should be. A damaged one is copied as it is, once,
    and reported when the target is read.

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
    present = {target.storage.relative(info) for info in target.storage.files(folder)}
    quarantined = target.quarantined_sizes()
    found = {source.storage.relative(info): info.size for info in source.storage.files(folder)}
    # What else lies among the rows is foreign, and the source's own reader tells of it.
    wanted = [path for path in found if not _is_temporary(path) and (folder != "rows" or path.endswith(".parquet"))]
    # A file that was found damaged here comes again if it is another one there: then the damage is this machine's.
    missing = [path for path in wanted if path not in present and quarantined.get(path) != found[path]]
    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(lambda path: target.storage.put(path, source.storage.read(path)), missing))
    return sum(path.endswith(".parquet") for path in missing)


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY)
