"""Where rows are kept: one immutable Parquet file per attempt, on any file system that pyarrow knows."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from benchmarks.records import ROW_SCHEMA, Row, State
from harness.row_cache import RowCache
from harness.row_files import READ_SCHEMA, DamagedFileError, decode_row, encode_row
from splitters.errors import ConfigurationError

_TEMPORARY = ".tmp-"
_ABANDONED_SECONDS = 3600.0
"""A temporary file of this age has lost its writer."""

_LOCAL_READERS = os.cpu_count() or 4
_REMOTE_READERS = 32
"""Threads that read. Remote stores answer late; local files cost the processor only."""

_DETAILS = ("layers", "modules", "sensitivity", "stages", "traceback")
"""Columns that summaries leave out."""

_NULLABLE = frozenset(field.name for field in ROW_SCHEMA if field.nullable)


@dataclass(frozen=True)
class DamagedFile:
    """A file among the rows that is no row.

    Args:
        path: Where it lies now.
        reason: What is wrong with it.
        quarantined: Whether it could be moved out of the way.
    """

    path: str
    reason: str
    quarantined: bool


@dataclass(frozen=True)
class StoreContents:
    """All rows of a store, and the files that are none.

    Args:
        table: The rows, in no particular order.
        damaged: Files that were moved to ``quarantine/``, now or earlier, or that could not be moved.
    """

    table: pa.Table
    damaged: tuple[DamagedFile, ...]

    def attempts(self, cell_id: str) -> list[Row]:
        """Returns all attempts at a cell, the oldest first."""
        ids = self.table.column("cell_id").to_pylist()
        rows = _rows(_take(self.table, [index for index, known in enumerate(ids) if known == cell_id]))
        return sorted(rows, key=lambda row: row.started_at)

    def cell_ids(self) -> set[str]:
        """Returns the ids of all cells that have a row."""
        return set(self.table.column("cell_id").to_pylist())

    def latest(self) -> list[Row]:
        """Returns the attempt that counts of each cell, without ``_DETAILS``.

        A final attempt (``ok`` or ``skipped``) counts before all others; of several, the newest does.
        """
        return _rows(_take(self.table, list(self._counting().values())).drop_columns(list(_DETAILS)))

    def in_full(self, cell_ids: Iterable[str]) -> list[Row]:
        """Returns the attempt that counts of some cells, with everything; of those cells that have one."""
        counting = self._counting()
        return _rows(_take(self.table, [counting[cell_id] for cell_id in cell_ids if cell_id in counting]))

    def _counting(self) -> dict[str, int]:
        """Returns the index of the attempt that counts of each cell, in the order of the table."""
        keys = zip(*(self.table.column(name).to_pylist() for name in ("cell_id", "state", "started_at")), strict=True)
        best: dict[str, tuple[bool, object, int]] = {}
        for index, (cell_id, state, started_at) in enumerate(keys):
            rank = (State(state).is_final, started_at, index)
            if cell_id not in best or rank > best[cell_id]:
                best[cell_id] = rank
        return dict(sorted(((cell_id, rank[2]) for cell_id, rank in best.items()), key=lambda entry: entry[1]))


def _take(table: pa.Table, indices: list[int]) -> pa.Table:
    return table.take(pa.array(indices, pa.int64()))


def _rows(table: pa.Table) -> list[Row]:
    # A column that did not exist yet when a row was written is null; where null is no value, the default holds.
    return [
        Row.model_validate({name: value for name, value in record.items() if value is not None or name in _NULLABLE})
        for record in table.to_pylist()
    ]


class ResultStore:
    """A results folder.

    Rows lie in ``rows/in_scenario=S/in_dataset=D/<cell>-<attempt>.parquet``. Several processes may write at once: no
    two attempts share a file, and no file ever changes.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system that ``location`` is a path of, where a URI cannot say it.
        cache: A local folder for a copy of the rows that are known already; None reads every file every time.
    """

    def __init__(
        self, location: str | Path, *, filesystem: fs.FileSystem | None = None, cache: Path | None = None
    ) -> None:
        self.location = str(location)
        self._fs, self._root = (filesystem, str(location)) if filesystem else _open(str(location))
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._cache = RowCache(cache, f"{self._fs.type_name}:{self._root}") if cache else None

    def write(self, row: Row) -> str:
        """Stores a row, all or nothing, and returns its file's path.

        Raises:
            OSError: If the store cannot be written to.
        """
        folder = f"rows/in_scenario={_name(row.scenario)}/in_dataset={_name(row.dataset)}"
        path = f"{folder}/{row.cell_id[:16]}-{row.attempt_id}.parquet"
        self.write_file(path, encode_row(row))
        return f"{self._root}/{path}"

    def write_file(self, path: str, data: bytes) -> None:
        """Stores something that belongs to the rows but is none, all or nothing.

        Args:
            path: Its path below the store; a file that is there already is replaced.
            data: Its bytes.

        Raises:
            OSError: If the store cannot be written to.
        """
        folder, _, name = f"{self._root}/{path}".rpartition("/")
        if self._is_local:
            _write_local(Path(folder), name, data)
            return
        self._fs.create_dir(folder, recursive=True)
        with self._fs.open_output_stream(f"{folder}/{name}") as stream:
            stream.write(data)

    def read_files(self, folder: str) -> dict[str, bytes]:
        """Returns the files that ``write_file`` has put into a folder below the store, by path."""
        found = {}
        for info in sorted(self._files(folder), key=lambda info: info.path):
            if not info.base_name.startswith(_TEMPORARY):
                with self._fs.open_input_file(info.path) as stream:
                    found[info.path] = bytes(stream.read())
        return found

    def read(self) -> StoreContents:
        """Reads all rows; moves files that are none to ``quarantine/`` and reports them.

        A store that does not exist yet is empty.

        Raises:
            ConfigurationError: If a row was written by a newer version.
            OSError: If the store cannot be read.
        """
        infos = [info for info in self._files("rows") if not self._is_being_written(info)]
        known, rows = self._cache.load(infos) if self._cache else ([], READ_SCHEMA.empty_table())
        known_paths = {info.path for info in known}
        fresh = [info for info in infos if info.path not in known_paths]
        earlier = self._quarantined()
        with ThreadPoolExecutor(_LOCAL_READERS if self._is_local else _REMOTE_READERS) as readers:
            outcomes = list(readers.map(self._read_file, fresh))
        good = [(info, found) for info, found in zip(fresh, outcomes, strict=True) if isinstance(found, pa.Table)]
        rows = pa.concat_tables([rows, *(found for _, found in good)]).combine_chunks()
        if self._cache:
            self._cache.save([*known, *(info for info, _ in good)], rows, n_fresh=len(good))
        return StoreContents(rows, earlier + tuple(found for found in outcomes if isinstance(found, DamagedFile)))

    def prepare(self) -> None:
        """Makes the store's folder, so that a place that cannot be written to is found before the work and not after.

        Raises:
            ConfigurationError: If it cannot be made.
        """
        try:
            self._fs.create_dir(f"{self._root}/rows", recursive=True)
            if self._is_local and not os.access(f"{self._root}/rows", os.W_OK):
                raise PermissionError("it is read-only")
        except OSError as error:
            raise ConfigurationError(
                f"results cannot be written to {self.location}: {error}. Name another place with --results."
            ) from error

    def require(self) -> None:
        """Checks that there is a store to read.

        Raises:
            ConfigurationError: If the folder does not exist.
        """
        if self._fs.get_file_info(self._root).type == fs.FileType.NotFound:
            raise ConfigurationError(
                f"there are no results at {self.location}. Name the folder that 'splitbench run' wrote to, "
                "for example results/quick."
            )

    def _files(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        return [info for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]

    @staticmethod
    def _is_being_written(info: fs.FileInfo) -> bool:
        age = time.time() - info.mtime_ns / 1e9 if info.mtime_ns else 0.0
        return bool(info.base_name.startswith(_TEMPORARY) and age < _ABANDONED_SECONDS)

    def _read_file(self, info: fs.FileInfo) -> pa.Table | DamagedFile | None:
        """Returns a file's row, or what is wrong with it, or None if another reader has just moved it away."""
        try:
            with self._fs.open_input_file(info.path) as stream:
                data = stream.read_buffer()
        except FileNotFoundError:
            return None
        try:
            if not info.path.endswith(".parquet") or info.base_name.startswith(_TEMPORARY):
                raise DamagedFileError("foreign: its name is not that of a row")
            return decode_row(data, path=info.path)
        except DamagedFileError as damage:
            return self._quarantine(info.path, str(damage))

    def _quarantine(self, path: str, reason: str) -> DamagedFile:
        inner = path.removeprefix(f"{self._root}/rows/")
        target = f"{self._root}/quarantine/{inner.replace('/', '__')}"
        try:
            self._fs.create_dir(f"{self._root}/quarantine", recursive=True)
            self._fs.move(path, target)
        except FileNotFoundError:
            return DamagedFile(target, reason, quarantined=True)
        except OSError as error:
            return DamagedFile(path, f"{reason}; it could not be moved: {error}", quarantined=False)
        with contextlib.suppress(OSError), self._fs.open_output_stream(f"{target}.reason.txt") as stream:
            stream.write(reason.encode())
        return DamagedFile(target, reason, quarantined=True)

    def _quarantined(self) -> tuple[DamagedFile, ...]:
        paths = {info.path for info in self._files("quarantine")}
        return tuple(
            DamagedFile(path, self._reason(path) if f"{path}.reason.txt" in paths else "", quarantined=True)
            for path in sorted(paths)
            if not path.endswith(".reason.txt")
        )

    def _reason(self, path: str) -> str:
        with self._fs.open_input_file(f"{path}.reason.txt") as stream:
            reason: str = stream.read().decode(errors="replace")
            return reason


def _name(value: str) -> str:
    """Returns a value as the end of a partition's name."""
    return quote(value, safe="")


def _open(location: str) -> tuple[fs.FileSystem, str]:
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{location}: no such place for results: {error}. Give a folder, or a URI such as s3://bucket/folder."
        ) from None
    return filesystem, root.rstrip("/")


def _write_local(folder: Path, name: str, data: bytes) -> None:
    """Writes under a temporary name, makes sure of the disk, renames, and makes sure of the folder."""
    _make_folder(folder)
    temporary = folder / f"{_TEMPORARY}{name}"
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / name)
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
