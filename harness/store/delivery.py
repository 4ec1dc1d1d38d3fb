"""Rows that their store did not take: kept on this machine until it does."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from harness.store.files import Storage

_PAUSE_SECONDS = 30.0
"""After a delivery that failed, rows go straight into the outbox for so long."""


class Outbox:
    """Row files that wait for one store, in the cache folder.

    Args:
        cache: The cache folder.
        store: Identifies the store.
    """

    def __init__(self, cache: Path, store: str) -> None:
        self._files = Storage(str(cache / "outbox" / hashlib.sha256(store.encode()).hexdigest()[:32]))
        self._closed_until = 0.0
        self.reason: str | None = None

    @property
    def folder(self) -> str:
        """Where the rows wait."""
        return self._files.root

    @property
    def is_trying(self) -> bool:
        """Whether the store is worth a try, or has just failed."""
        return time.monotonic() >= self._closed_until

    def keep(self, path: str, data: bytes, error: OSError) -> None:
        """Keeps a row's file.

        Args:
            path: Its path in the store.
            data: Its content.
            error: Why the store did not take it.

        Raises:
            OSError: If it cannot be kept here either.
        """
        self.postpone(error)
        self._files.put(path, data)

    def postpone(self, error: OSError) -> None:
        """Notes that the store failed just now."""
        self.reason = str(error)
        self._closed_until = time.monotonic() + _PAUSE_SECONDS

    def waiting(self) -> list[str]:
        """Returns the paths of all rows that wait."""
        return sorted(self._files.relative(info) for info in self._files.files(""))

    def read(self) -> dict[str, bytes]:
        """Returns the files of all rows that wait, by path."""
        found = {}
        for path in self.waiting():
            # Another process may just have delivered it.
            with contextlib.suppress(FileNotFoundError):
                found[path] = self._files.read(path)
        return found

    def deliver(self, store: Storage) -> Iterator[str]:
        """Gives the store what waits for it, as far as it takes it, and yields the path of each row that it took."""
        for path in self.waiting():
            try:
                store.put(path, self._files.read(path))
            except FileNotFoundError:
                # Another process has just delivered it.
                continue
            except OSError as error:
                self.postpone(error)
                return
            with contextlib.suppress(OSError):
                self._files.delete(path)
            yield path
