"""A cache that machines share: trained weights, splits, and checkpoints of both."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from benchmarks.cache.locations import open_location

_CHUNK_BYTES = 8 << 20
_ATTEMPTS = 3
_WAIT_SECONDS = 0.1


class SharedCache:
    """A folder of files, on any file system of pyarrow, that machines share.

    It only saves time: a file that cannot be fetched is computed again, one that cannot be published is computed again
    elsewhere. A shared cache that fails never fails a cell.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system of the path ``location``, where no URI can express it.

    Raises:
        ConfigurationError: If the URI is malformed, or of an unknown kind.
    """

    def __init__(self, location: str, *, filesystem: fs.FileSystem | None = None) -> None:
        self._fs, self._root = (
            (filesystem, location) if filesystem else open_location(location, purpose="to share a cache in")
        )

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file to ``target``, atomically. Return whether that succeeded."""
        return _succeeds_with_retries(lambda: self._fetch(name, target))

    def publish(self, path: Path, name: str) -> bool:
        """Copy a file to the shared cache. Return whether that succeeded."""
        return _succeeds_with_retries(lambda: self._publish(path, name))

    def remove(self, name: str) -> None:
        """Remove a file, if it exists and can be removed."""
        try:
            self._fs.delete_file(f"{self._root}/{name}")
        except OSError:
            # A leftover checkpoint of finished work does no harm.
            return

    def _fetch(self, name: str, target: Path) -> None:
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.fetched")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._fs.open_input_stream(f"{self._root}/{name}") as source, temporary.open("wb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    file.write(chunk)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, path: Path, name: str) -> None:
        final = f"{self._root}/{name}"
        # An object appears only once it is complete; on other file systems, a temporary name and a rename ensure that.
        is_local = isinstance(self._fs, fs.LocalFileSystem)
        written = f"{final}.{secrets.token_hex(4)}.tmp" if is_local else final
        self._fs.create_dir(final.rpartition("/")[0], recursive=True)
        with path.open("rb") as file, self._fs.open_output_stream(written) as target:
            while chunk := file.read(_CHUNK_BYTES):
                target.write(chunk)
        if written != final:
            self._fs.move(written, final)


def _succeeds_with_retries(request: Callable[[], None]) -> bool:
    """Return whether a request succeeds, repeating it where that may help."""
    for attempt in range(_ATTEMPTS):
        try:
            request()
        except FileNotFoundError:
            return False
        except OSError:
            time.sleep(_WAIT_SECONDS * 2**attempt)
        else:
            return True
    return False
