"""Where rows are kept: one immutable Parquet file per attempt, on any file system that pyarrow knows."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from benchmarks.rows.parquet_schema import ROW_SCHEMA
from benchmarks.rows.row import Row, State
from harness.store.delivery import Outbox
from harness.store.files import Storage, patiently
from harness.store.local_copies import GROWTH, RowCache, SharedCopy
from harness.store.locations import beneath, parent_of
from harness.store.row_format import READ_SCHEMA, DamagedFileError, decode_row, encode_table, readable, row_table
from splitters.errors import ConfigurationError

_SETTLED_SECONDS = 300.0
"""A file that has not changed for this long is no longer being written; one that cannot be read then is damaged."""

_REASON = ".reason.txt"
"""Ending of the files in quarantine that say why their neighbour is there."""

_LOCAL_READERS = os.cpu_count() or 4
_REMOTE_READERS = 32
"""Threads that read. Remote stores answer late; local files cost the processor only."""

_SHARED_EVERY = 1000
"""After so many new rows at least, a run that goes on renews the copy in the store; fewer are read in seconds."""

_DETAILS = ("layers", "modules", "sensitivity", "stages", "traceback")
"""Columns that summaries leave out."""

_LEVELS_ABOVE = 3
"""From a partition's folder, rows/in_scenario=S/in_dataset=D, the results are this far up."""

_LEVELS_BELOW = 2
_MOST_FOLDERS = 50
_MOST_NAMED = 5

_ID_LENGTH = 16
"""Characters of a cell's id in the names of its files."""

_NULLABLE = frozenset(field.name for field in ROW_SCHEMA if field.nullable)


@dataclass(frozen=True)
class DamagedFile:
    """A file among the rows that is no row.

    Args:
        path: Where it is now.
        reason: What is wrong with it.
        quarantined: Whether it has been moved to ``quarantine/``.
    """

    path: str
    reason: str
    quarantined: bool


@dataclass(frozen=True)
class Unsent:
    """Rows that the store has not taken yet. They count, and are delivered when it takes them.

    Args:
        folder: Where they wait on this machine.
        n_rows: How many they are.
        reason: Why the store did not take them, if this process has tried.
    """

    folder: str
    n_rows: int
    reason: str | None


@dataclass(frozen=True)
class StoreContents:
    """All rows of a store, and the files that are none.

    Args:
        table: The rows, in no particular order.
        damaged: Files that are no rows, in ``rows/`` or already in ``quarantine/``.
        unsent: Rows among them that wait on this machine, if there are any.
        being_written: Paths of files that cannot be read yet and changed within the last minutes.
    """

    table: pa.Table
    damaged: tuple[DamagedFile, ...]
    unsent: Unsent | None = None
    being_written: tuple[str, ...] = ()

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
        cache: A local folder for a copy of the rows that are known already, and for rows that the store does not take.
            With None, every file is read every time, and a row that the store does not take is an error.
    """

    def __init__(
        self, location: str | Path, *, filesystem: fs.FileSystem | None = None, cache: Path | None = None
    ) -> None:
        self.location = str(location)
        self._filesystem = filesystem
        self.storage = Storage(str(location), filesystem=filesystem)
        self._cache = RowCache(cache, self.storage.name) if cache else None
        self._outbox = Outbox(cache, self.storage.name) if cache else None
        self._shared = SharedCopy(self.storage)
        self._n_rows = 0
        self._n_shared = 0
        self._n_since_sharing = 0

    def write(self, row: Row) -> str:
        """Stores a row, all or nothing, and returns its file's path.

        A row that the store does not take, because it is full, say, or out of reach, waits in the cache folder.

        Raises:
            OSError: If the row can be stored nowhere.
        """
        table = row_table(row)
        path, data = _row_path(row.scenario, row.dataset, row.cell_id, row.attempt_id), encode_table(table)
        if self._outbox is None:
            self.storage.put(path, data)
        elif not self._outbox.is_trying:
            self._outbox.keep(path, data, OSError(self._outbox.reason))
        else:
            try:
                self.storage.put(path, data)
            except OSError as error:
                self._outbox.keep(path, data, error)
            else:
                self._note_written(path, table)
                self._deliver()
                self._share_now_and_then()
        return f"{self.storage.root}/{path}"

    def write_file(self, path: str, data: bytes) -> None:
        """Stores something that belongs to the rows but is none, all or nothing.

        Args:
            path: Its path below the store; a file that is there already is replaced.
            data: Its bytes.

        Raises:
            OSError: If the store cannot be written to.
        """
        self.storage.put(path, data)

    def read_files(self, folder: str) -> dict[str, bytes]:
        """Returns the files that ``write_file`` has put into a folder below the store, by path."""
        infos = sorted(self.storage.files(folder), key=lambda info: info.path)
        return {info.path: self.storage.read(self.storage.relative(info)) for info in infos}

    def read(self, *, share: bool = False, quarantine: bool = False) -> StoreContents:
        """Reads all rows, and reports files that are none.

        A store that does not exist yet is empty. A file that cannot be read, but changed within the last minutes, is
        taken for one that is still being written.

        Args:
            share: Whether to leave a copy of all rows in the store, if it has many new ones. A machine that reads it
                for the first time then reads one file instead of thousands.
            quarantine: Whether to move damaged files to ``quarantine/``, and rows that lie there but read well back.
                For commands that write; without it no file of the store is moved or deleted.

        Raises:
            ConfigurationError: If a row was written by a newer version.
            OSError: If the store cannot be read.
        """
        self._deliver()
        # Before the store's own files are listed: what another process delivers meanwhile is then in one or the other.
        waiting = self._outbox.read() if self._outbox is not None else {}
        if quarantine:
            self._take_back()
        infos = self.storage.files("rows")
        cached, rows = self._cache.load(infos) if self._cache else ([], READ_SCHEMA.empty_table())
        fresh = _without(infos, cached)
        shared, shared_rows = self._shared.load(fresh)
        unread = _without(fresh, shared)
        outcomes = self._read_files(unread)
        good = [(info, found) for info, found in zip(unread, outcomes, strict=True) if isinstance(found, pa.Table)]
        known = [*cached, *shared, *(info for info, _ in good)]
        rows = pa.concat_tables([rows, shared_rows, *(found for _, found in good)]).combine_chunks()
        if self._cache:
            self._cache.save(known, rows, n_fresh=len(known) - len(cached))
        self._n_rows = rows.num_rows
        if share:
            self._n_shared, self._n_since_sharing = self._shared.offer(known, rows), 0
        unreadable = [(info, found) for info, found in zip(unread, outcomes, strict=True) if isinstance(found, str)]
        settled, changing = self._split_by_age(unreadable, by_store_clock=quarantine)
        earlier = self._quarantined()
        damaged = tuple(
            self._quarantine(self.storage.relative(info), reason)
            if quarantine
            else DamagedFile(info.path, reason, False)
            for info, reason in settled
        )
        being_written = tuple(info.path for info, _ in changing)
        return self._with_unsent(StoreContents(rows, earlier + damaged, being_written=being_written), waiting)

    def read_cells(self, cell_ids: Collection[str]) -> StoreContents:
        """Reads the rows of some cells only, and passes over files that cannot be read; see ``read``."""
        beginnings = {cell_id[:_ID_LENGTH] for cell_id in cell_ids}
        infos = [info for info in self.storage.files("rows") if info.base_name[:_ID_LENGTH] in beginnings]
        tables = [outcome for outcome in self._read_files(infos) if isinstance(outcome, pa.Table)]
        return StoreContents(pa.concat_tables([READ_SCHEMA.empty_table(), *tables]), ())

    def prepare(self) -> None:
        """Makes the store's folder, so that a place that cannot be written to is found before the work and not after.

        Raises:
            ConfigurationError: If it cannot be made.
        """
        try:
            self.storage.make("rows")
            if self.storage.is_local and not os.access(f"{self.storage.root}/rows", os.W_OK):
                raise PermissionError("it is read-only")
        except OSError as error:
            raise ConfigurationError(
                f"results cannot be written to {self.location}: {error}. Name another place with --results."
            ) from error

    def probe(self) -> None:
        """Writes a small file, reads it back, and removes it.

        Raises:
            OSError: If that fails.
        """
        path, existed = f".probe-{uuid.uuid4().hex}", self.storage.exists()
        try:
            self.storage.put(path, path.encode())
            if self.storage.read(path) != path.encode():
                raise OSError(f"{path}: what was read back is not what was written.")
        finally:
            self.storage.delete(path)
            if not existed and self.storage.exists():
                self.storage.fs.delete_dir(self.storage.root)

    def require(self) -> None:
        """Checks that there is a store to read.

        Raises:
            ConfigurationError: If the folder does not exist, or if it holds no rows but a folder above or below does.
        """
        if not self.storage.exists():
            raise ConfigurationError(
                f"there are no results at {self.location}. Name the folder that 'splitbench run' wrote to, "
                "for example results/quick."
            )
        if not self.storage.has_folder("rows") and (others := self._results_nearby()):
            raise ConfigurationError(f"there are no rows at {self.location}; did you mean {' or '.join(others)}?")

    def _results_nearby(self) -> list[str]:
        """Returns where there are results above this folder or, failing that, up to two folders below it."""
        location = self.location
        for _ in range(_LEVELS_ABOVE):
            location = parent_of(location)
            if self._filesystem is None and Storage(location).has_folder("rows"):
                return [location]
        within = [""]
        for _ in range(_LEVELS_BELOW):
            within = [f"{folder}{name}/" for folder in within for name in self.storage.folders(folder)[:_MOST_FOLDERS]]
            found = [folder.rstrip("/") for folder in within if self.storage.has_folder(f"{folder}rows")]
            if found:
                return [self._location_of(folder) for folder in found[:_MOST_NAMED]]
        return []

    def _location_of(self, folder: str) -> str:
        location = beneath(self.location, folder)
        return location if "://" in location else os.path.normpath(location)

    def _note_written(self, path: str, table: pa.Table) -> None:
        if self._cache is not None:
            # Without the file's own facts, the row is read again the next time; nothing worse.
            with contextlib.suppress(OSError):
                info = self.storage.fs.get_file_info(f"{self.storage.root}/{path}")
                self._cache.note_written(info, readable(table))

    def _share_now_and_then(self) -> None:
        """Leaves a copy of the rows in the store during a long run, which may end where nobody can do so any more."""
        self._n_rows += 1
        self._n_since_sharing += 1
        is_worthwhile = self._n_rows - self._n_shared >= GROWTH * self._n_rows
        if is_worthwhile and self._n_since_sharing >= _SHARED_EVERY:
            self._n_since_sharing = 0
            # Whoever reads the store next hears what is wrong with it; the row that was just written is safe.
            with contextlib.suppress(OSError, ConfigurationError):
                self.read(share=True)

    def _deliver(self) -> None:
        """Gives the store the rows that wait for it, if it may take them now."""
        if self._outbox is not None and self._outbox.is_trying:
            for _ in self._outbox.deliver(self.storage):
                pass

    def _with_unsent(self, contents: StoreContents, waiting: Mapping[str, bytes]) -> StoreContents:
        """Returns contents with the rows that wait for delivery.

        Args:
            contents: What the store itself holds.
            waiting: The files of the rows that wait, by path.
        """
        if self._outbox is None or not waiting:
            return contents
        # A store may have taken a row and yet reported a failure.
        stored = set(contents.table.column("attempt_id").to_pylist())
        tables, damaged = [contents.table], list(contents.damaged)
        for path, data in waiting.items():
            file = f"{self._outbox.folder}/{path}"
            try:
                table = decode_row(data, path=file)
            except DamagedFileError as damage:
                damaged.append(DamagedFile(file, str(damage), quarantined=False))
                continue
            if table.column("attempt_id")[0].as_py() not in stored:
                tables.append(table)
        if len(tables) == 1:
            return replace(contents, damaged=tuple(damaged))
        unsent = Unsent(self._outbox.folder, len(tables) - 1, self._outbox.reason)
        return replace(contents, table=pa.concat_tables(tables).combine_chunks(), damaged=tuple(damaged), unsent=unsent)

    def _read_files(self, infos: list[fs.FileInfo]) -> list[pa.Table | str | None]:
        if not infos:
            return []
        with ThreadPoolExecutor(_LOCAL_READERS if self.storage.is_local else _REMOTE_READERS) as readers:
            return list(readers.map(self._read_file, infos))

    def _read_file(self, info: fs.FileInfo) -> pa.Table | str | None:
        """Returns a file's row, or why it has none, or None if the file has just been moved away."""
        if not info.path.endswith(".parquet"):
            return "foreign: its name is not that of a row"
        try:
            return decode_row(patiently(lambda: self._buffer(info.path)), path=info.path)
        except FileNotFoundError:
            return None
        except DamagedFileError as damage:
            return str(damage)

    def _buffer(self, path: str) -> pa.Buffer:
        with self.storage.fs.open_input_file(path) as stream:
            return stream.read_buffer()

    def _split_by_age(
        self, unreadable: list[tuple[fs.FileInfo, str]], *, by_store_clock: bool
    ) -> tuple[list[tuple[fs.FileInfo, str]], list[tuple[fs.FileInfo, str]]]:
        """Returns the files that no longer change, and those that may still be being written.

        Args:
            unreadable: Files, each with the reason why it cannot be read.
            by_store_clock: Whether to ask the store for the time, which writes a file for a moment.
        """
        if not unreadable:
            return [], []
        now = time.time()
        if by_store_clock:
            # A store that cannot be written to cannot be changed either.
            with contextlib.suppress(OSError):
                now = self.storage.now()
        settled: list[tuple[fs.FileInfo, str]] = []
        changing: list[tuple[fs.FileInfo, str]] = []
        for info, reason in unreadable:
            # A store that keeps no times is one that shows files only when they are complete.
            is_settled = not info.mtime_ns or now - info.mtime_ns / 1e9 >= _SETTLED_SECONDS
            (settled if is_settled else changing).append((info, reason))
        return settled, changing

    def _quarantine(self, path: str, reason: str) -> DamagedFile:
        target = quarantine_path(path)
        try:
            self.storage.make("quarantine")
            self.storage.move(path, target)
        except FileNotFoundError:
            return DamagedFile(f"{self.storage.root}/{target}", reason, quarantined=True)
        except OSError as error:
            where = f"{self.storage.root}/{path}"
            return DamagedFile(where, f"{reason}; it could not be moved: {error}", quarantined=False)
        with contextlib.suppress(OSError):
            self.storage.put(f"{target}{_REASON}", reason.encode())
        return DamagedFile(f"{self.storage.root}/{target}", reason, quarantined=True)

    def _take_back(self) -> None:
        """Moves files from ``quarantine/`` back that can be read: their copying or writing has ended since."""
        infos = [info for info in self.storage.files("quarantine") if info.path.endswith(".parquet")]
        for info, outcome in zip(infos, self._read_files(infos), strict=True):
            if not isinstance(outcome, pa.Table):
                continue
            path = _row_path(
                *(outcome.column(name)[0].as_py() for name in ("scenario", "dataset", "cell_id", "attempt_id"))
            )
            # Where it cannot be moved, it stays in quarantine and is reported.
            with contextlib.suppress(OSError):
                self.storage.make(path.rpartition("/")[0])
                self.storage.move(self.storage.relative(info), path)
                self.storage.delete(f"{self.storage.relative(info)}{_REASON}")

    def _quarantined(self) -> tuple[DamagedFile, ...]:
        paths = {self.storage.relative(info) for info in self.storage.files("quarantine")}
        return tuple(
            DamagedFile(f"{self.storage.root}/{path}", self._reason(path, paths), quarantined=True)
            for path in sorted(paths)
            if not path.endswith(_REASON)
        )

    def _reason(self, path: str, paths: Collection[str]) -> str:
        note = f"{path}{_REASON}"
        return self.storage.read(note).decode(errors="replace") if note in paths else ""


def quarantine_path(path: str) -> str:
    """Returns where a file of ``rows/`` is moved if it is damaged."""
    return f"quarantine/{path.removeprefix('rows/').replace('/', '__')}"


def _row_path(scenario: str, dataset: str, cell_id: str, attempt_id: str) -> str:
    folder = f"rows/in_scenario={_name(scenario)}/in_dataset={_name(dataset)}"
    return f"{folder}/{_name(cell_id[:_ID_LENGTH])}-{_name(attempt_id)}.parquet"


def _without(infos: list[fs.FileInfo], known: list[fs.FileInfo]) -> list[fs.FileInfo]:
    """Returns the files that are not known yet."""
    paths = {info.path for info in known}
    return [info for info in infos if info.path not in paths]


def _name(value: str) -> str:
    """Returns a value as the end of a partition's name."""
    return quote(value, safe="")
