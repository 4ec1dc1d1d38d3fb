"""A place that several machines reach, for what is dear to make: trained weights, splits, and how far they are."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from benchmarks.cache.locations import open_location

_CHUNK_BYTES = 8 << 20
_SMALL_BYTES = 64
_ATTEMPTS = 3
_WAIT_SECONDS = 0.1


class SharedCache:
    """A folder of files, on any file system of pyarrow, that machines share.

    It only saves time. A file that cannot be fetched is made anew, and one that cannot be published is missed by others
    alone; so a mirror that fails never fails a cell.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system that ``location`` is a path of, where a URI cannot say it.

    Raises:
        ConfigurationError: If there is no such kind of place.
    """

    def __init__(self, location: str, *, filesystem: fs.FileSystem | None = None) -> None:
        self._fs, self._root = (
            (filesystem, location) if filesystem else open_location(location, purpose="to share a cache in")
        )

    def fetch(self, name: str, target: Path) -> bool:
        """Copies a file to ``target``, all or nothing, and returns whether it is there now."""
        return _in_some_attempts(lambda: self._fetch(name, target))

    def publish(self, path: Path, name: str) -> bool:
        """Copies a file to the mirror, and returns whether others can have it now."""
        return _in_some_attempts(lambda: self._publish(path, name))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there and can be removed."""
        try:
            self._fs.delete_file(f"{self._root}/{name}")
        except OSError:
            # What is left over is a checkpoint of finished work, or a marker that nobody renews.
            return

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file.

        Raises:
            OSError: If it cannot be written.
        """
        path = f"{self._root}/{name}"
        try:
            stream = self._fs.open_output_stream(path)
        except FileNotFoundError:
            # Only where there are folders, and then once.
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self._fs.open_output_stream(path)
        with stream as target:
            target.write(data)

    def read(self, name: str) -> bytes:
        """Returns a small file's bytes; of a larger one, the first 64.

        Raises:
            OSError: If it cannot be read.
        """
        with self._fs.open_input_stream(f"{self._root}/{name}") as source:
            data: bytes = source.read(_SMALL_BYTES)
        return data

    def names(self, folder: str) -> list[str]:
        """Returns the names of a folder's files; none if there is no such folder.

        Raises:
            OSError: If it cannot be listed.
        """
        infos = self._fs.get_file_info(fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        return [f"{folder}/{info.base_name}" for info in infos if info.is_file]

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
        # An object appears when it is whole; elsewhere, a name of its own and a rename see to that.
        on_files = isinstance(self._fs, fs.LocalFileSystem)
        written = f"{final}.{secrets.token_hex(4)}.tmp" if on_files else final
        self._fs.create_dir(final.rpartition("/")[0], recursive=True)
        with path.open("rb") as file, self._fs.open_output_stream(written) as target:
            while chunk := file.read(_CHUNK_BYTES):
                target.write(chunk)
        if written != final:
            self._fs.move(written, final)


def _in_some_attempts(request: Callable[[], None]) -> bool:
    """Returns whether a request succeeds, if need be when it is made again."""
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
