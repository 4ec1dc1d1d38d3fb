"""Rows on any file system: row files, contents, quarantine, delivery, copies, and fetching from elsewhere."""

from __future__ import annotations

from harness.store.contents import DamagedFile, StoreContents, Unsent, find_cell, union
from harness.store.files import Storage
from harness.store.locations import beneath
from harness.store.result_store import ResultStore, read_stores

__all__ = [
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
