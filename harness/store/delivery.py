"""Rows that their store did not accept: kept on this machine until it does."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from harness.store.contents import DamagedFile
from harness.store.files import Storage
from harness.store.row_files import DamagedFileError, decode_rows

_PAUSE_SECONDS = 30.0
"""After a failed write, the store is left alone for this long, and rows go straight to the outbox."""


class Outbox:
    """Row files that wait for one store, in the cache folder.

    Args:
        cache: The cache folder.
        store: Identifies the store.
    """

    def __init__(self, cache: Path, store: str) -> None:
        self._files = Storage(str(cache / "outbox" / hashlib.sha256(store.encode()).hexdigest()[:32]))
        self._paused_until = 0.0
        self.reason: str | None = None
        """Why the store last refused a row of this process."""

    @property
    def folder(self) -> str:
        """The folder of the waiting rows."""
        return self._files.root

    @property
    def is_paused(self) -> bool:
        """Whether the store has just failed and is not worth a try."""
        return time.monotonic() < self._paused_until

    def pause(self, error: OSError) -> None:
        """Leave the store alone for a while, because it has just failed."""
        self.reason = str(error)
        self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def keep(self, path: str, data: bytes) -> None:
        """Keep a row's file.

        Args:
            path: Its path in the store.
            data: Its content.

        Raises:
            OSError: If it cannot be written here either.
        """
        self._files.put(path, data)

    def waiting(self) -> list[str]:
        """Return the paths of all waiting rows."""
        return sorted(self._files.relative(info) for info in self._files.files(""))

    def read(self) -> dict[str, bytes]:
        """Return the files of all waiting rows by path."""
        found = {}
        for path in self.waiting():
            # Another process may just have delivered it.
            with contextlib.suppress(FileNotFoundError):
                found[path] = self._files.read(path)
        return found

    def deliver(self, store: Storage) -> None:
        """Move waiting rows to the store, until it refuses one."""
        for path in [] if self.is_paused else self.waiting():
            try:
                store.put(path, self._files.read(path))
            except FileNotFoundError:
                continue  # Another process has just delivered it.
            except OSError as error:
                self.pause(error)
                return
            with contextlib.suppress(OSError):
                self._files.delete(path)

    def discard(self, cell_id: str) -> int:
        """Remove the waiting rows of a cell, and return their number."""
        paths = []
        for path, data in self.read().items():
            with contextlib.suppress(DamagedFileError):
                if cell_id in decode_rows(data, path=path).column("cell_id").to_pylist():
                    paths.append(path)
        self._files.delete_all(paths)
        return len(paths)

    def decode(self, waiting: dict[str, bytes], stored: Collection[str]) -> tuple[list[pa.Table], list[DamagedFile]]:
        """Return the rows among waiting files, and the files that are damaged.

        Args:
            waiting: What ``read`` returned.
            stored: Ids of attempts that the store holds already; it may have stored a row and yet reported a failure.
        """
        rows, damaged = [], []
        for path, data in waiting.items():
            file = f"{self.folder}/{path}"
            try:
                row = decode_rows(data, path=file)
            except DamagedFileError as damage:
                damaged.append(DamagedFile(file, str(damage), quarantined=False))
            else:
                if row.column("attempt_id")[0].as_py() not in stored:
                    rows.append(row)
        return rows, damaged
