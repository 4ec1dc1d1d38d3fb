"""Rows on any file system: files, reading, quarantine, delivery, local copies."""

from __future__ import annotations

from harness.store.files import Storage
from harness.store.locations import beneath
from harness.store.result_store import DamagedFile, ResultStore, StoreContents, Unsent

__all__ = ["DamagedFile", "ResultStore", "Storage", "StoreContents", "Unsent", "beneath"]
