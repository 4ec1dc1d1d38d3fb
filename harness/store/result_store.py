"""The store of a run's rows: immutable Parquet files on any file system that pyarrow knows."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from benchmarks.rows.row import Row
from harness.store.contents import DamagedFile, StoreContents, Unsent, distinct_attempts
from harness.store.delivery import Outbox
from harness.store.files import Storage
from harness.store.locations import results_around, results_near
from harness.store.quarantine import Quarantine, split_settled
from harness.store.row_copies import GROWTH, RowCache, SharedCopy
from harness.store.row_files import (
    ID_LENGTH,
    as_read,
    encode_table,
    is_merged,
    no_rows,
    read_row_files,
    row_path,
    row_table,
)
from splitters.errors import ConfigurationError

_BATCH = 1000
"""Files whose rows are put together at a time."""

SHARED_EVERY = 1000
"""A running command renews the copy in the store after this many new rows at least; fewer are read in seconds."""


class ResultStore:
    """A results folder.

    Its rows are the files ``rows/in_scenario=S/in_dataset=D/<cell>-<attempt>.parquet``, and the merged files that
    ``splitbench compact`` made of such. Several processes may write at once: no two attempts that are written share a
    file, and no file ever changes.

    Args:
        location: A local path or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        filesystem: The file system of the path ``location``, if no URI can express it.
        cache: A local folder for a copy of the rows read so far, and for rows that the store does not accept. With
            None, every file is read every time, and a row that the store does not accept is an error.
    """

    def __init__(
        self, location: str | Path, *, filesystem: fs.FileSystem | None = None, cache: Path | None = None
    ) -> None:
        self.location = str(location)
        self.storage = Storage(self.location, filesystem=filesystem)
        self._has_uri = filesystem is None
        self._cache = RowCache(cache, self.storage.name) if cache else None
        self._outbox = Outbox(cache, self.storage.name) if cache else None
        self._shared = SharedCopy(self.storage)
        self._quarantine = Quarantine(self.storage)
        self._n_rows = 0
        self._n_shared = 0
        self._n_since_sharing = 0

    def write(self, row: Row) -> str:
        """Store a row, all or nothing, and return the path of its file.

        A row that the store does not accept, because it is full or out of reach, say, waits in the cache folder.

        Raises:
            OSError: If the row can be stored nowhere.
        """
        table = row_table(row)
        path, data = row_path(row.scenario, row.dataset, row.cell_id, row.attempt_id), encode_table(table)
        if self._outbox is None:
            self.storage.put(path, data)
        elif self._outbox.is_paused:
            self._outbox.keep(path, data)
        else:
            try:
                self.storage.put(path, data)
            except OSError as error:
                self._outbox.pause(error)
                self._outbox.keep(path, data)
            else:
                self._note_written(path, table)
                self._outbox.deliver(self.storage)
                self._share_now_and_then()
        return f"{self.storage.root}/{path}"

    def write_file(self, path: str, data: bytes) -> None:
        """Store a file that belongs to the rows without being one, all or nothing.

        Args:
            path: Its path in the store; an existing file is replaced.
            data: Its content.

        Raises:
            OSError: If the store cannot be written to.
        """
        self.storage.put(path, data)

    def read_files(self, folder: str) -> dict[str, bytes]:
        """Return all files in a folder of the store by their absolute path."""
        infos = sorted(self.storage.files(folder), key=lambda info: info.path)
        return {info.path: self.storage.read(self.storage.relative(info)) for info in infos}

    def read(
        self, *, columns: Collection[str] | None = None, share: bool = False, quarantine: bool = False
    ) -> StoreContents:
        """Read all rows, and report files that are not rows.

        A store that does not exist yet is empty. A file that cannot be read but has changed within the last minutes is
        taken to be still being written.

        Args:
            columns: The columns to read; all by default. Those that ``StoreContents`` needs must be among them:
                ``KEY_COLUMNS``.
            share: Whether to leave a copy of all rows in the store if many are new. A machine that reads the store for
                the first time then reads one file instead of thousands.
            quarantine: Whether to move damaged files to ``quarantine/``, and readable rows back from there. For
                commands that write; without it, no file of the store is moved or deleted.

        Raises:
            ConfigurationError: If a newer version wrote a row.
            OSError: If the store cannot be read.
        """
        waiting: dict[str, bytes] = {}
        if self._outbox is not None:
            self._outbox.deliver(self.storage)
            # Read before the store is listed: what another process delivers meanwhile is in one or in the other.
            waiting = self._outbox.read()
        if quarantine:
            self._quarantine.restore()
        rows, unreadable = self._read_rows(None if share else columns, share=share)
        settled, changing = split_settled(self.storage, list(unreadable), by_store_clock=quarantine)
        damaged = [
            *self._quarantine.files(),
            *(self._damaged(info, unreadable[info], quarantine=quarantine) for info in settled),
        ]
        unsent = None
        if self._outbox is not None and waiting:
            undelivered, torn = self._outbox.decode(waiting, set(rows.column("attempt_id").to_pylist()))
            rows = pa.concat_tables([rows, *(row.select(rows.column_names) for row in undelivered)]).combine_chunks()
            damaged += torn
            if undelivered:
                unsent = Unsent(self._outbox.folder, len(undelivered), self._outbox.reason)
        return StoreContents(rows, tuple(damaged), unsent, being_written=tuple(info.path for info in changing))

    def read_cells(self, cell_ids: Collection[str], *, columns: Collection[str] | None = None) -> StoreContents:
        """Read the stored rows of some cells, ignoring files that cannot be read; see ``read``."""
        prefixes = {cell_id[:ID_LENGTH] for cell_id in cell_ids}
        found = self._read_files(
            lambda info: is_merged(info.path) or info.base_name[:ID_LENGTH] in prefixes, columns=columns
        )
        rows = distinct_attempts(found.rows)
        return StoreContents(rows.filter(pc.is_in(rows.column("cell_id"), pa.array(list(cell_ids), pa.string()))), ())

    def discard_unsent(self, cell_id: str) -> int:
        """Remove the rows of a cell that wait on this machine, and return their number."""
        return self._outbox.discard(cell_id) if self._outbox is not None else 0

    def prepare(self) -> None:
        """Make the store's folder, so that an unwritable location is found before the work and not after it.

        Raises:
            ConfigurationError: If it cannot be made, or is in the rows of other results.
        """
        if self._has_uri and (others := results_around(self.location)):
            raise ConfigurationError(f"{self.location} is in the rows of {others}; name {others} instead.")
        try:
            self.storage.make_folder("rows")
            if self.storage.is_local and not os.access(f"{self.storage.root}/rows", os.W_OK):
                raise PermissionError("it is read-only")
        except OSError as error:
            raise ConfigurationError(
                f"results cannot be written to {self.location}: {error}. Choose another folder or URI."
            ) from error

    def probe(self) -> None:
        """Write a small file, read it back, and remove it.

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
        """Check that there is a store to read.

        Raises:
            ConfigurationError: If the folder does not exist, or if it holds no rows but a folder above or below does.
        """
        if not self.storage.exists():
            raise ConfigurationError(
                f"there are no results at {self.location}. Name the folder that 'splitbench run' wrote to, "
                "for example results/quick."
            )
        if self.storage.has_folder("rows"):
            return
        others: list[str] = []
        with contextlib.suppress(OSError):  # A neighbour may be another user's.
            others = results_near(self.location, self.storage, has_uri=self._has_uri)
        if others:
            raise ConfigurationError(f"there are no rows at {self.location}; did you mean {' or '.join(others)}?")

    def require_rows(self) -> None:
        """Check that there are rows to read, or a run that has begun and has none yet.

        Raises:
            ConfigurationError: If there are none.
        """
        self.require()
        if not self.storage.has_folder("rows") and not self.storage.has_folder("runs"):
            raise ConfigurationError(
                f"there are no rows at {self.location}. Name the folder that 'splitbench run' wrote to, "
                "for example results/quick."
            )

    def _read_rows(self, columns: Collection[str] | None, *, share: bool) -> tuple[pa.Table, dict[fs.FileInfo, str]]:
        """Return the store's rows, and the files that are not rows with the reasons."""

        def is_direct(info: fs.FileInfo) -> bool:
            # Merged files on this machine are read as fast as a copy of them.
            return self.storage.is_local and is_merged(info.path)

        listed = self.storage.files("rows")
        infos = [info for info in listed if not is_direct(info)]
        cached, cached_rows = self._cache.load(infos, columns) if self._cache else ([], no_rows(columns))
        # The copy on this machine has all columns of what it is given.
        new_columns = None if self._cache else columns
        shared, shared_rows = self._shared.load(_without(infos, cached), new_columns)
        known = {info.path for info in [*cached, *shared]}
        read = self._read_files(
            lambda info: info.path not in known and not is_direct(info), listed=listed, columns=new_columns
        )
        merged = self._read_files(is_direct, listed=None if read.saw_changes else listed, columns=columns)
        if self._cache:
            self._cache.save(infos, [*shared, *read.infos], pa.concat_tables([shared_rows, read.rows]))
        names = merged.rows.column_names
        rows = pa.concat_tables([part.select(names) for part in (cached_rows, shared_rows, read.rows, merged.rows)])
        self._n_rows = rows.num_rows
        if share:
            of_rows = [*cached, *shared, *read.infos, *merged.infos]
            self._n_shared, self._n_since_sharing = self._shared.renew(of_rows, rows), 0
        return distinct_attempts(rows), {**read.unreadable, **merged.unreadable}

    def _read_files(
        self,
        wanted: Callable[[fs.FileInfo], bool],
        *,
        listed: list[fs.FileInfo] | None = None,
        columns: Collection[str] | None = None,
    ) -> _FilesRead:
        """Return what files of ``rows/`` hold.

        Where files vanish between their listing and their reading, the files that replace them are read as well.

        Args:
            wanted: Whether to read a file.
            listed: The files, if they have just been listed.
            columns: The columns to read; all by default.
        """
        found = _FilesRead([], no_rows(columns))
        tried: set[str] = set()
        while True:
            infos = self.storage.files("rows") if listed is None else listed
            infos = [info for info in infos if info.path not in tried and wanted(info)]
            vanished = [self._read_batch(found, infos[start : start + _BATCH], columns) for start in _starts(infos)]
            if not any(vanished):
                return found
            tried.update(info.path for info in infos)
            listed, found.saw_changes = None, True

    def _read_batch(self, found: _FilesRead, infos: list[fs.FileInfo], columns: Collection[str] | None) -> bool:
        """Add what files hold to what was found, and return whether one has vanished."""
        outcomes = read_row_files(self.storage, infos, columns=columns)
        tables = []
        for info, outcome in zip(infos, outcomes, strict=True):
            if isinstance(outcome, pa.Table):
                tables.append(outcome)
                found.infos += [info] * outcome.num_rows
            elif outcome is not None:
                found.unreadable[info] = outcome
        rows = pa.concat_tables([no_rows(columns), *tables])
        # A chunk per row would take more memory than the rows do.
        rows = rows.combine_chunks() if rows.num_rows == len(tables) else rows
        found.rows = pa.concat_tables([found.rows, rows])
        return None in outcomes

    def _damaged(self, info: fs.FileInfo, reason: str, *, quarantine: bool) -> DamagedFile:
        if quarantine:
            return self._quarantine.add(self.storage.relative(info), reason)
        return DamagedFile(info.path, reason, quarantined=False)

    def _note_written(self, path: str, table: pa.Table) -> None:
        if self._cache is not None:
            # Without the file's size and time, the row is merely read again next time.
            with contextlib.suppress(OSError):
                info = self.storage.fs.get_file_info(f"{self.storage.root}/{path}")
                self._cache.note_written(info, as_read(table))

    def _share_now_and_then(self) -> None:
        """Leave a copy of the rows in the store during a long run, which may be killed before its end."""
        self._n_rows += 1
        self._n_since_sharing += 1
        is_worthwhile = self._n_rows - self._n_shared >= GROWTH * self._n_rows
        if is_worthwhile and self._n_since_sharing >= SHARED_EVERY:
            self._n_since_sharing = 0
            # The row that was just written is safe; the next command that reads the store reports what is wrong.
            with contextlib.suppress(OSError, ConfigurationError):
                self.read(share=True)


def read_stores(
    location: str | None, *, cache: Path | None = None, quarantine: bool = False
) -> dict[str, StoreContents]:
    """Return the contents of one store, or of every store in ``./results``, by location.

    Args:
        location: The store; None for those in ``./results``.
        cache: See ``ResultStore``.
        quarantine: Move damaged files out of the way.

    Raises:
        ConfigurationError: If the given location holds no store.
    """
    locations = [location] if location is not None else [str(path.parent) for path in Path("results").glob("*/rows")]
    stores = {location: ResultStore(location, cache=cache) for location in sorted(locations)}
    for store in stores.values():
        store.require()
    return {location: store.read(quarantine=quarantine) for location, store in stores.items()}


@dataclass
class _FilesRead:
    """What was read.

    Args:
        infos: The file of each row.
        rows: The rows.
        unreadable: Files that hold no rows, with the reasons.
        saw_changes: Whether files vanished meanwhile.
    """

    infos: list[fs.FileInfo]
    rows: pa.Table
    unreadable: dict[fs.FileInfo, str] = field(default_factory=dict)
    saw_changes: bool = False


def _starts(infos: list[fs.FileInfo]) -> range:
    return range(0, len(infos), _BATCH)


def _without(infos: list[fs.FileInfo], known: list[fs.FileInfo]) -> list[fs.FileInfo]:
    paths = {info.path for info in known}
    return [info for info in infos if info.path not in paths]
