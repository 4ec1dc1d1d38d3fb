"""Rows on any file system: row files, contents, quarantine, delivery, copies, and fetching from elsewhere."""

from __future__ import annotations

from harness.store.contents import KEY_COLUMNS, LATEST_COLUMNS, DamagedFile, StoreContents, Unsent, find_cell, union
from harness.store.files import Storage
from harness.store.locations import beneath
from harness.store.result_store import ResultStore, read_stores

__all__ = [
    "KEY_COLUMNS",
    "LATEST_COLUMNS",
    "DamagedFile",
    "ResultStore",
    "Storage",
    "StoreContents",
    "Unsent",
    "beneath",
    "find_cell",
    "read_stores",
    "union",
]
