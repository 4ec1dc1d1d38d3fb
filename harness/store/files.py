"""A folder on any file system of pyarrow; requests that fail are retried."""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from benchmarks.cache.locations import open_location
from harness.first_contact import require_store_answers
from splitters.errors import ConfigurationError

TEMPORARY = ".tmp-"
"""Prefix of the names of files that are still being written."""

_FOREIGN_FOLDER = re.compile(r"(?!\.\.$)[._@#$~].*|lost\+found", re.DOTALL)
_FOREIGN_FILE = re.compile(
    r"[._@#$~].*|.*(~|\.part|\.partial|\.crdownload|\.tmp)|desktop\.ini|thumbs\.db", re.DOTALL | re.I
)
"""Names that are no store's: what is still being written, and what file managers, editors, copiers and disks leave."""

_REMOTE_REQUESTS = 32
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.1

# Errors that waiting does not cure. Any other error is a failed request, which may succeed the next time.
_PERMANENT = frozenset(
    (
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
        errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    )
)  # fmt: skip

ResultT = TypeVar("ResultT")


class Storage:
    """A folder of files. Paths are relative to it.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system of the path ``location``, if no URI can express it.
    """

    def __init__(self, location: str, *, filesystem: fs.FileSystem | None = None) -> None:
        if filesystem is None:
            require_store_answers(location)
        self.fs, self.root = (filesystem, location) if filesystem else open_location(location, purpose="for results")
        self.is_local = isinstance(self.fs, fs.LocalFileSystem)
        if not self.root and not self.is_local and filesystem is None:
            raise ConfigurationError(f"{location}: it names no bucket; give a URI such as s3://bucket/folder.")

    @property
    def name(self) -> str:
        """A name that no other folder has."""
        return f"{self.fs.type_name}:{self.root}"

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file, all or nothing, replacing an existing one.

        Args:
            path: Its path.
            data: Its content.
            durable: Whether it must be on the disk, and not merely visible to others, before this returns.

        Raises:
            ConfigurationError: If the path leads out of the folder.
            OSError: If it cannot be written.
        """
        if ".." in path.split("/"):
            raise ConfigurationError(f"{path!r} leads out of {self.root}; no such file is written.")
        with_retries(lambda: self._put(path, data, durable=durable))

    def read(self, path: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be read.
        """
        return with_retries(lambda: self._read(path))

    def files(self, folder: str) -> list[fs.FileInfo]:
        """Return all files below a folder, with absolute paths; none if there is no such folder.

        Files and folders of other programs (``.DS_Store``, ``_SUCCESS``, ``desktop.ini``) and what is still being
        written are left out.

        Raises:
            ConfigurationError: If a name is not UTF-8.
            OSError: If the folder cannot be read.
        """
        infos = self._list(folder, recursive=True)
        return [info for info in infos if info.type == fs.FileType.File and not _is_foreign(self.relative(info))]

    def relative(self, info: fs.FileInfo) -> str:
        """Return the relative path of a file that ``files`` returned."""
        return str(info.path.removeprefix(f"{self.root}/"))

    def now(self) -> float:
        """Return the time by the store's own clock, in seconds: the modification time of a file written to find out.

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
        """Return whether the folder exists."""
        return bool(with_retries(lambda: self.fs.get_file_info(self.root)).type == fs.FileType.Directory)

    def folders(self, folder: str) -> list[str]:
        """Return the names of a folder's subfolders, without those of other programs; see ``files``."""
        infos = self._list(folder, recursive=False)
        names = [info.base_name for info in infos if info.type == fs.FileType.Directory]
        return sorted(name for name in names if not _FOREIGN_FOLDER.fullmatch(name))

    def has_folder(self, folder: str) -> bool:
        """Return whether there is such a folder."""
        info = with_retries(lambda: self.fs.get_file_info(f"{self.root}/{folder}"))
        return bool(info.type == fs.FileType.Directory)

    def make_folder(self, folder: str) -> None:
        """Make a folder unless it exists."""
        with_retries(lambda: self.fs.create_dir(f"{self.root}/{folder}".rstrip("/"), recursive=True))

    def move(self, source: str, target: str) -> None:
        """Move a file."""
        self.fs.move(f"{self.root}/{source}", f"{self.root}/{target}")

    def delete(self, path: str) -> None:
        """Remove a file if it exists."""
        try:
            with_retries(lambda: self.fs.delete_file(f"{self.root}/{path}"))
        except FileNotFoundError:
            return

    def delete_all(self, paths: Collection[str]) -> None:
        """Remove files, those that exist, several at a time where each takes a request over the network."""
        if self.is_local:
            for path in paths:
                self.delete(path)
            return
        with ThreadPoolExecutor(_REMOTE_REQUESTS) as requests:
            list(requests.map(self.delete, paths))

    def _list(self, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        path = f"{self.root}/{folder}".rstrip("/")
        selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        try:
            infos: list[fs.FileInfo] = with_retries(lambda: self.fs.get_file_info(selector))
            for info in infos:
                info.path  # noqa: B018  # decodes it
        except UnicodeDecodeError as error:
            name = error.object.decode(errors="backslashreplace")
            raise ConfigurationError(f"{name}: the name of this file is not UTF-8; rename or remove it.") from None
        return infos

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


def _is_foreign(path: str) -> bool:
    *folders, name = path.split("/")
    return any(map(_FOREIGN_FOLDER.fullmatch, folders)) or _FOREIGN_FILE.fullmatch(name) is not None


def with_retries(request: Callable[[], ResultT]) -> ResultT:
    """Return the result of a request, which is tried up to six times within about three seconds.

    Raises:
        OSError: If it fails for a lasting reason (no such file, no space, no permission), or six times.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return _answer(request)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _PERMANENT:
                raise
        time.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    return _answer(request)


def _answer(request: Callable[[], ResultT]) -> ResultT:
    """Return the result of a request; the errors of Azure's client, which are no OSErrors, become such."""
    try:
        return request()
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def _write_local(folder: Path, name: str, data: bytes, *, durable: bool) -> None:
    """Write under a temporary name and rename; if durable, sync the file before and its folder after."""
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
    """Make a folder and its parents, and sync each to the disk."""
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
