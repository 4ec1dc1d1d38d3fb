"""Damaged files: telling them from files that are still being written, and moving them out of the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import pyarrow as pa
from pyarrow import fs

from harness.store.contents import DamagedFile
from harness.store.files import Storage
from harness.store.row_files import path_of_rows, read_row_files

SETTLED_SECONDS = 300.0
"""A file that has not changed for this long is no longer being written; if it cannot be read, it is damaged."""

_FOLDER = "quarantine"
_REASON = ".reason.txt"
"""Suffix of the file that says why its neighbour was moved here."""


def quarantine_path(path: str) -> str:
    """Return the path to which a damaged file of ``rows/`` is moved."""
    return f"{_FOLDER}/{path.removeprefix('rows/').replace('/', '__')}"


def split_settled(
    storage: Storage, infos: Sequence[fs.FileInfo], *, by_store_clock: bool
) -> tuple[list[fs.FileInfo], list[fs.FileInfo]]:
    """Return the files that no longer change, and those that may still be being written.

    Args:
        storage: The store.
        infos: Files.
        by_store_clock: Whether to ask the store for the time, for which it briefly holds another file.
    """
    if not infos:
        return [], []
    now = time.time()
    if by_store_clock:
        # A store that cannot be written to cannot be changed either.
        with contextlib.suppress(OSError):
            now = storage.now()
    settled: list[fs.FileInfo] = []
    changing: list[fs.FileInfo] = []
    for info in infos:
        # A store without modification times is one that shows files only when they are complete.
        is_settled = not info.mtime_ns or now - info.mtime_ns / 1e9 >= SETTLED_SECONDS
        (settled if is_settled else changing).append(info)
    return settled, changing


class Quarantine:
    """The folder ``quarantine/`` of a store.

    Args:
        storage: The store.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def add(self, path: str, reason: str) -> DamagedFile:
        """Move a file of ``rows/`` here and note the reason; if it cannot be moved, report it where it is."""
        target = quarantine_path(path)
        try:
            self._storage.make_folder(_FOLDER)
            self._storage.move(path, target)
        except FileNotFoundError:  # Another process has just moved it.
            return DamagedFile(self._absolute(target), reason, quarantined=True)
        except OSError as error:
            return DamagedFile(self._absolute(path), f"{reason}; it could not be moved: {error}", quarantined=False)
        with contextlib.suppress(OSError):
            self._storage.put(f"{target}{_REASON}", reason.encode())
        return DamagedFile(self._absolute(target), reason, quarantined=True)

    def files(self) -> tuple[DamagedFile, ...]:
        """Return all files here, each with its reason."""
        paths = {self._storage.relative(info) for info in self._storage.files(_FOLDER)}
        return tuple(
            DamagedFile(self._absolute(path), self._reason(path) if f"{path}{_REASON}" in paths else "", True)
            for path in sorted(paths)
            if not path.endswith(_REASON)
        )

    def restore(self) -> None:
        """Move files back that can be read by now, because their copying or writing has ended."""
        infos = [info for info in self._storage.files(_FOLDER) if info.path.endswith(".parquet")]
        for info, rows in zip(infos, read_row_files(self._storage, infos), strict=True):
            if not isinstance(rows, pa.Table):
                continue
            source = self._storage.relative(info)
            target = path_of_rows(rows, info.base_name)
            # A file that cannot be moved stays here and is reported.
            with contextlib.suppress(OSError):
                self._storage.make_folder(target.rpartition("/")[0])
                self._storage.move(source, target)
                self._storage.delete(f"{source}{_REASON}")

    def _reason(self, path: str) -> str:
        return self._storage.read(f"{path}{_REASON}").decode(errors="replace")

    def _absolute(self, path: str) -> str:
        return f"{self._storage.root}/{path}"
