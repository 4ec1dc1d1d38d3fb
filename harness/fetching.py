"""Copying results from one folder to another."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from harness.row_cache import SHARED_COPY
from harness.storage import TEMPORARY
from harness.store import ResultStore

_READERS = 32

FURTHER_FOLDERS = ("curves", "sweeps")
"""What sweeps keep beside their rows, in files that never change either."""


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copies the row files that the target does not have, and returns how many they were; what belongs to them too.

    Row files never change, so a file that is there already is as it should be. A damaged one is copied as it is, and
    reported when the target is read.

    Args:
        source: Where rows come from; nothing is changed there.
        target: Where they go.
    """
    target.prepare()

    def copy(path: str) -> None:
        target.storage.put(path, source.storage.read(path))

    def copy_new(folder: str) -> int:
        present = {target.storage.relative(info) for info in target.storage.files(folder)}
        paths = [source.storage.relative(info) for info in source.storage.files(folder)]
        missing = [path for path in paths if path not in present and not path.rpartition("/")[2].startswith(TEMPORARY)]
        with ThreadPoolExecutor(_READERS) as readers:
            list(readers.map(copy, missing))
        return len(missing)

    n_rows = copy_new("rows")
    for folder in FURTHER_FOLDERS:
        copy_new(folder)
    if n_rows:
        # Only spares time: without it the rows are read from their files.
        with contextlib.suppress(OSError):
            copy(SHARED_COPY)
    return n_rows
