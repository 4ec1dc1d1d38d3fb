"""A folder on any file system of pyarrow, with patience for stores that fail now and then."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyarrow import fs

from benchmarks.cache.locations import open_location
from harness.first_contact import require_store_answers
from splitters.errors import ConfigurationError

TEMPORARY = ".tmp-"
"""How the names of files begin that are still being written."""

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.1

# What waiting does not mend. Everything else from a store is a request that failed, and may succeed the next time.
_PERMANENT = frozenset(
    (
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
        errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    )
)  # fmt: skip

ResultT = TypeVar("ResultT")


class Storage:
    """A folder and what is done with its files. Paths are relative to it.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system that ``location`` is a path of, where a URI cannot say it.
    """

    def __init__(self, location: str, *, filesystem: fs.FileSystem | None = None) -> None:
        if filesystem is None:
            require_store_answers(location)
        self.fs, self.root = (filesystem, location) if filesystem else open_location(location, purpose="for results")
        self.is_local = isinstance(self.fs, fs.LocalFileSystem)

    @property
    def name(self) -> str:
        """Names the folder among all folders."""
        return f"{self.fs.type_name}:{self.root}"

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Writes a file, all or nothing, in the place of one that may be there.

        Args:
            path: Its path.
            data: Its content.
            durable: Whether it must be on the disk, and not only visible to others, before this returns.

        Raises:
            ConfigurationError: If the path leads out of the folder.
            OSError: If that is not possible, also after some attempts.
        """
        if ".." in path.split("/"):
            raise ConfigurationError(f"{path!r} leads out of {self.root}; no such file is written.")
        patiently(lambda: self._put(path, data, durable=durable))

    def read(self, path: str) -> bytes:
        """Returns a file's content.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be read, also after some attempts.
        """
        return patiently(lambda: self._read(path))

    def files(self, folder: str) -> list[fs.FileInfo]:
        """Returns all files below a folder, none if there is no such folder; their paths are absolute.

        Names that begin with ``.`` or ``_`` belong to others (``.DS_Store``, ``_SUCCESS``, ``.nfs0001``) or to files
        that are still being written; neither they nor what lies in folders of such names is returned.
        """
        selector = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), recursive=True, allow_not_found=True)
        infos = patiently(lambda: self.fs.get_file_info(selector))
        return [info for info in infos if info.type == fs.FileType.File and not _is_hidden(self.relative(info))]

    def relative(self, info: fs.FileInfo) -> str:
        """Returns the path of a file of ``files`` as the other methods take it."""
        return str(info.path.removeprefix(f"{self.root}/"))

    def now(self) -> float:
        """Returns the time by the store's own clock, in seconds: the modification time of a file written for it.

        Raises:
            OSError: If the store cannot be written to.
        """
        path = f".clock-{uuid.uuid4().hex}"
        try:
            self.put(path, b"", durable=False)
            info = self.fs.get_file_info(f"{self.root}/{path}")
        finally:
            self.delete(path)
        return info.mtime_ns / 1e9 if info.mtime_ns else time.time()

    def exists(self) -> bool:
        """Returns whether the folder is there."""
        return bool(patiently(lambda: self.fs.get_file_info(self.root)).type != fs.FileType.NotFound)

    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders directly in a folder, but for those that begin with ``.`` or ``_``."""
        selector = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), allow_not_found=True)
        infos = patiently(lambda: self.fs.get_file_info(selector))
        names = [info.base_name for info in infos if info.type == fs.FileType.Directory]
        return sorted(name for name in names if not _is_hidden(name))

    def has_folder(self, folder: str) -> bool:
        """Returns whether there is a folder of this path."""
        info = patiently(lambda: self.fs.get_file_info(f"{self.root}/{folder}"))
        return bool(info.type == fs.FileType.Directory)

    def make(self, folder: str) -> None:
        """Makes a folder, if it is not there."""
        patiently(lambda: self.fs.create_dir(f"{self.root}/{folder}".rstrip("/"), recursive=True))

    def move(self, source: str, target: str) -> None:
        """Moves a file."""
        self.fs.move(f"{self.root}/{source}", f"{self.root}/{target}")

    def delete(self, path: str) -> None:
        """Removes a file, if it is there."""
        try:
            patiently(lambda: self.fs.delete_file(f"{self.root}/{path}"))
        except FileNotFoundError:
            return

    def _put(self, path: str, data: bytes, *, durable: bool) -> None:
        folder, _, name = f"{self.root}/{path}".rpartition("/")
        if self.is_local:
            _write_local(Path(folder), name, data, durable=durable)
            return
        self.fs.create_dir(folder, recursive=True)
        with self.fs.open_output_stream(f"{folder}/{name}") as stream:
            stream.write(data)

    def _read(self, path: str) -> bytes:
        with self.fs.open_input_file(f"{self.root}/{path}") as stream:
            data: bytes = stream.read()
        return data


def _is_hidden(path: str) -> bool:
    return any(name.startswith((".", "_")) and name != ".." for name in path.split("/"))


def patiently(request: Callable[[], ResultT]) -> ResultT:
    """Returns what a request returns; one that fails is made again, up to six times within some seconds.

    Raises:
        OSError: If it fails for a reason that stays (no such file, no space, no right), or time and again.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return request()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _PERMANENT:
                raise
        time.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    return request()


def _write_local(folder: Path, name: str, data: bytes, *, durable: bool) -> None:
    """Writes under a temporary name and renames; if durable, makes sure of the disk before and of the folder after."""
    _make_folder(folder)
    temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{name}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(folder / name)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(folder)


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents, each of them certain to be on the disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
