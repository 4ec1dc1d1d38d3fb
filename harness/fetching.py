"""Copying rows from one results folder to another."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from harness.row_cache import SHARED_COPY
from harness.store import ResultStore

_READERS = 32


def fetch_rows(source: ResultStore, target: ResultStore) -> int:
    """Copies the row files that the target does not have, and returns how many they were.

    Row files never change, so a file that is there already is as it should be. A damaged one is copied as it is, and
    reported when the target is read.

    Args:
        source: Where rows come from; nothing is changed there.
        target: Where they go.
    """
    target.prepare()
    present = {target.storage.relative(info) for info in target.storage.files("rows")}
    paths = [source.storage.relative(info) for info in source.storage.files("rows")]
    missing = [path for path in paths if path.endswith(".parquet") and path not in present]

    def copy(path: str) -> None:
        target.storage.put(path, source.storage.read(path))

    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(copy, missing))
    if missing:
        # Only spares time: without it the rows are read from their files.
        with contextlib.suppress(OSError):
            copy(SHARED_COPY)
    return len(missing)
