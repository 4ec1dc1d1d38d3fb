"""A run declares the cells that it means to run, where other runs look before they start.

A run writes its record, reads the records of other runs once, and leaves the cells of earlier runs to them. It then
marks the list of its cells as final, and renews its record until it ends. It never reads other records again and never
waits for another run: results are immutable, so at worst a cell is computed twice.

A run is earlier if its list was final already, or else by ``RunRecord.order``. Since each run writes before it reads,
at least one of two runs sees the other. A run that leaves a cell to another one has seen that the other keeps it, so
no cell is left out by both.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.rows.row import Row
from harness.machines.provenance import git_commit, package_version
from harness.runs.record import (
    RunRecord,
    age_seconds,
    process_started,
    read_records,
    this_machine,
)
from harness.runs.time_left import TimeLeft
from harness.store.files import Storage
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError

if TYPE_CHECKING:
    from splitters.methods.protocol import Progress

HEARTBEAT_SECONDS = 10.0
ALIVE_SECONDS = 120.0
"""A driver on another machine counts as alive for this long after its last heartbeat."""

_LOOK_AGAIN_SECONDS = 0.2


class RunDeclaration:
    """This run's record, as a context that writes it on entry, every ten seconds, and on exit.

    Args:
        storage: The results folder.
        name: Name of the suite or sweep.
        cell_ids: The cells that this run means to run, if they are known.
        n_cells: Number of cells of the suite or sweep.
        study: The study that this run means to drive.
        to_do: Number of cells that this run means to run; by default, that of ``cell_ids``.
        time_left: Estimates how long the run will take; it is notified of starts and ends.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        *,
        cell_ids: Collection[str],
        n_cells: int,
        study: str | None = None,
        to_do: int | None = None,
        time_left: TimeLeft | None = None,
    ) -> None:
        now = datetime.now(timezone.utc)
        n_to_do = len(cell_ids) if to_do is None else to_do
        self._time_left = time_left or TimeLeft(n_cells=n_to_do)
        self.record = RunRecord(
            run_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            suite=name,
            machine=this_machine(),
            hostname=this_machine().partition("/")[0],
            pid=os.getpid(),
            process_started=process_started(os.getpid()) or 0.0,
            splitbench=package_version(),
            commit=git_commit(),
            cells=n_cells,
            to_do=n_to_do,
            started_at=now,
            heartbeat_at=now,
            cell_ids=frozenset(cell_ids),
            study=study,
            is_settled=False,
        )
        self.left_to_others: dict[str, RunRecord] = {}
        """The cells that earlier runs, which are alive, have declared, each with its run."""
        self._storage = storage
        self._lock = threading.Lock()
        self._has_ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> RunDeclaration:
        """Declare the run, and leave the cells of earlier runs to them.

        Raises:
            ConfigurationError: If this run's study has a driver that is alive.
            OSError: If the store does not tell whether it has one.
        """
        self._try_to_write()
        try:
            if self.record.study is None:
                # If other records cannot be read, cells may be computed twice, which does no harm.
                with contextlib.suppress(OSError):
                    self._leave_cells()
            else:
                self._require_study()
        except BaseException:
            with contextlib.suppress(OSError):
                self._storage.delete(self.record.path)
            raise
        with self._lock:
            self.record.is_settled = True
        self._try_to_write()
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how the run ended."""
        self._has_ended.set()
        self._heart.join()
        with self._lock:
            self.record.ended = self.record.ended or ("done" if kind is None else "interrupted")
            self.record.running, self.record.seconds_left = {}, None
        if isinstance(error, ConfigurationError) and not self.record.finished:
            # Nothing was run.
            with contextlib.suppress(OSError):
                self._storage.delete(self.record.path)
        else:
            self._try_to_write()

    def started(self, item: SuiteCell) -> None:
        """Record that a cell has started."""
        with self._lock:
            self.record.start(item)
            self._time_left.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Record the progress of a cell."""
        with self._lock:
            self.record.report(item, progress)

    def finished(self, row: Row) -> None:
        """Record that an attempt has ended and its row is stored."""
        with self._lock:
            self.record.finish(row)
            self._time_left.finished(row)

    def note_end(self, ended: str) -> None:
        """Record how the run is about to end: ``done`` or ``interrupted``."""
        with self._lock:
            self.record.ended = ended

    def living_others(self) -> list[RunRecord]:
        """Return the records of all other runs that are alive.

        A driver on this machine is alive as long as its process exists, suspended or not; a driver elsewhere, if its
        last heartbeat is younger than ``ALIVE_SECONDS``. Nothing is remembered, so a machine that was suspended is
        alive again with its next heartbeat.

        Raises:
            OSError: If the records cannot be read.
        """
        records = read_records(self._storage)
        now = next((written for record, written in records if record.run_id == self.record.run_id), None)
        return [
            record
            for record, written in records
            if record.run_id != self.record.run_id and self._is_alive(record, written, now)
        ]

    def had_other_driver(self, since: datetime) -> bool:
        """Return whether another driver may have run the study after a time, by clocks that may differ a little.

        Raises:
            OSError: If the records cannot be read.
        """
        earliest = since - timedelta(seconds=ALIVE_SECONDS)
        return any(
            record.study == self.record.study
            and record.run_id != self.record.run_id
            and record.heartbeat_at >= earliest
            for record, _ in read_records(self._storage)
        )

    def _is_alive(self, record: RunRecord, written: float | None, now: float | None) -> bool:
        """Return whether a run is alive; times are by the store's clock, since those of machines differ."""
        if record.is_on_this_machine or record.ended is not None:
            return not record.has_ended
        if written is None or now is None:
            return age_seconds(record, datetime.now(timezone.utc)) <= ALIVE_SECONDS
        return now - written <= ALIVE_SECONDS

    def _is_earlier(self, other: RunRecord) -> bool:
        return other.is_settled or other.order < self.record.order

    def _leave_cells(self) -> None:
        first = [other for other in self.living_others() if self._is_earlier(other)]
        for other in sorted(first, key=lambda record: record.order, reverse=True):
            self.left_to_others |= dict.fromkeys(self.record.cell_ids & other.declared, other)
        with self._lock:
            self.record.cell_ids = self.record.cell_ids.difference(self.left_to_others)
            self.record.to_do -= len(self.left_to_others)
            self._time_left.leave(self.left_to_others.keys())

    def _require_study(self) -> None:
        """Make sure that no other driver writes the study.

        A rival whose list is not final yet either will see this run and withdraw, or has read the records before this
        run's was there and will mark its list as final in a moment. Either way, one driver remains.
        """
        while rivals := [other for other in self.living_others() if other.study == self.record.study]:
            first = [other for other in rivals if self._is_earlier(other)]
            if first:
                raise ConfigurationError(
                    f"study {self.record.study} has a driver already: process {first[0].pid} on {first[0].hostname}, "
                    f"since {first[0].started_at:%Y-%m-%d %H:%M} UTC. Wait for it, or stop it; a study has one driver "
                    "at a time."
                )
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _beat(self) -> None:
        while not self._has_ended.wait(HEARTBEAT_SECONDS):
            self._try_to_write()

    def _try_to_write(self) -> None:
        """Write the record, if the store accepts it; a run does not depend on its record.

        The lock is released first: a slow store must not delay the run's progress and deadlines.
        """
        with self._lock:
            self.record.heartbeat_at = datetime.now(timezone.utc)
            if self.record.ended is None:
                self.record.seconds_left = self._time_left.seconds()
            data = self.record.model_dump_json().encode()
        with contextlib.suppress(OSError):
            self._storage.put(self.record.path, data, durable=False)
