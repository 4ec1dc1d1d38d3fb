"""Several drivers on one results folder: each cell is computed by one of them.

Every driver has one file, its run's record, which it alone writes. To take a cell, it writes there that it wants it,
and then looks at the others' records. If another holds it, or wants it and comes before in the order of names, it
steps back; one that comes behind will step back itself, or holds it in a moment. So no two drivers hold a cell, on any
store that shows at once what was written; object stores do. A driver that died holds nothing: on the same machine its
process is looked for; elsewhere, its record has not changed for two minutes while somebody watched.

Where the folder cannot be written to, nobody can claim anything: a driver that has met no other goes on alone, one that
has met others waits.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import TypeVar

from benchmarks.records import Row
from harness.dispatch.base import Claim
from harness.provenance import git_commit, package_version
from harness.run_record import FOLDER, Hold, RunningCell, RunRecord, parse_record, process_started, this_machine
from harness.store import Storage
from harness.suite_cell import SuiteCell
from splitters.base import Progress
from splitters.errors import ConfigurationError

ResultT = TypeVar("ResultT")

BEAT_SECONDS = 10.0
LEASE_SECONDS = 120.0
"""A record that does not change for so long has lost its driver."""

_GLANCE_SECONDS = 0.05
_WATCH_SECONDS = 1.0


class Patience:
    """How long rows that cannot be read are waited for: as long as a driver that says nothing.

    Args:
        seconds: So long.
    """

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._last = float("-inf")

    def read(self, reading: Callable[[], ResultT]) -> ResultT | None:
        """Returns what is read, or None if it cannot be read now.

        Raises:
            OSError: If it could not be read for too long, though it was tried again and again.
        """
        now = time.monotonic()
        try:
            found = reading()
        except OSError:
            if self._since is None or now - self._last > self._seconds / 2:
                self._since = now
            self._last = now
            if now - self._since > self._seconds:
                raise
            return None
        self._since = None
        return found


class RunRegister:
    """This run's record, and what others' records say.

    As a context it writes the record when it is entered, every ten seconds, and when it is left.

    Args:
        storage: The results folder.
        suite: The suite's name.
        cells: How many cells it has.
        to_do: How many of them this run has to do.
        lease: Seconds after which a silent record of another machine has lost its driver.
    """

    def __init__(self, storage: Storage, suite: str, *, cells: int, to_do: int, lease: float = LEASE_SECONDS) -> None:
        now = datetime.now(timezone.utc)
        self.record = RunRecord(
            run_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            suite=suite,
            machine=this_machine(),
            hostname=this_machine().partition("/")[0],
            pid=os.getpid(),
            process_started=process_started(os.getpid()) or 0.0,
            splitbench=package_version(),
            commit=git_commit(),
            cells=cells,
            to_do=to_do,
            started_at=now,
            told_at=now,
        )
        self.met_others = False
        """Whether another run has been active since this one began; then rows may come that are not ours."""
        self.is_blind = False
        """Whether records could not be written or read when cells were claimed last."""
        self._storage = storage
        self._lease = lease
        self._over: set[str] = {self.record.path}
        self._met: set[str] = {self.record.path}
        self._seen: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="run record", daemon=True)

    def __enter__(self) -> RunRegister:
        """Writes the record, looks who else is there, and begins to beat."""
        with contextlib.suppress(OSError):
            self._write()
            self._others()
            # Runs that are over by now have written all their rows.
            self._met.update(self._over)
        self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives all claims back and notes the end."""
        self._left.set()
        self._pulse.join()
        with self._lock:
            self.record.ended = self.record.ended or ("done" if kind is None else "interrupted")
            self.record.claims, self.record.running = {}, {}
            # Rows count, not records: a store that fails now must not hide how the run ended.
            with contextlib.suppress(OSError):
                if isinstance(error, ConfigurationError) and not self.record.finished:
                    self._storage.delete(self.record.path)  # Nothing was run, so there is nothing to tell of.
                else:
                    self._write()

    def take(self, cell_ids: Sequence[str], *, all_or_none: bool = False) -> dict[str, Claim]:
        """Claims cells, and returns which of them are ours.

        Args:
            cell_ids: The cells.
            all_or_none: Whether to leave all of them, if another driver has one.
        """
        if not cell_ids:
            return {}
        try:
            claims = self._take(cell_ids, all_or_none=all_or_none)
        except OSError:
            self.is_blind = True
            claim = Claim.THEIRS if self.met_others else Claim.OURS
            with self._lock:
                # What nobody asks for any more must keep no other driver waiting once records can be written again.
                self._settle(dict.fromkeys(cell_ids, claim))
            return dict.fromkeys(cell_ids, claim)
        self.is_blind = False
        return claims

    def take_alone(self, name: str, *, watching: Callable[[RunRecord], None] = lambda _: None) -> RunRecord | None:
        """Claims what one run at a time may have, and returns the record of the run that has it; None if it is ours.

        A run whose record goes on changing is alive. One that is silent is watched until it has lost its claim. Where
        claims cannot be written, and nobody has it, it is ours.

        Args:
            name: What is claimed.
            watching: Told once of each run that is watched.
        """
        beats: dict[str, int] = {}
        while self.take([name])[name] is Claim.THEIRS:
            try:
                rivals = [record for record in self._others() if name in record.claims]
            except OSError:
                rivals = []
            if not rivals:
                return None
            for rival in rivals:
                if rival.path not in beats:
                    watching(rival)
                if beats.setdefault(rival.path, rival.beat) != rival.beat:
                    return rival
            time.sleep(_WATCH_SECONDS)
        return None

    def release(self, cell_id: str) -> None:
        """Gives a cell back; others see it when the record is written next."""
        with self._lock:
            self.record.claims.pop(cell_id, None)

    def started(self, item: SuiteCell) -> None:
        """Notes that a cell begins."""
        with self._lock:
            self.record.running[item.cell.cell_id] = RunningCell(title=item.title, since=datetime.now(timezone.utc))

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Notes how far a cell is."""
        with self._lock:
            known = self.record.running.get(item.cell.cell_id)
            if known is not None:
                told = {"stage": progress.stage, "step": progress.step, "total": progress.total}
                self.record.running[item.cell.cell_id] = known.model_copy(update=told)

    def finished(self, row: Row) -> None:
        """Notes that an attempt is over and its row stored."""
        with self._lock:
            self.record.running.pop(row.cell_id, None)
            self.record.finished += 1
            self.record.failed += not row.state.is_final

    def add(self, cells: int) -> None:
        """Notes that the run has so many cells more to do than it knew when it began."""
        with self._lock:
            self.record.cells += cells
            self.record.to_do += cells

    def note_end(self, ended: str) -> None:
        """Notes how the run ends."""
        with self._lock:
            self.record.ended = ended

    def _take(self, cell_ids: Sequence[str], *, all_or_none: bool) -> dict[str, Claim]:
        with self._lock:
            self.record.claims.update(dict.fromkeys(cell_ids, Hold.WANTED))
            self._write()
            others = self._others()
            claims = {cell_id: self._outcome(cell_id, others) for cell_id in cell_ids}
            if all_or_none and Claim.THEIRS in claims.values():
                claims = dict.fromkeys(cell_ids, Claim.THEIRS)
            self._settle(claims)
            self._write()
        return claims

    def _settle(self, claims: Mapping[str, Claim]) -> None:
        """Notes in the record what came of wanting some cells."""
        for cell_id, claim in claims.items():
            if claim is Claim.OURS:
                self.record.claims[cell_id] = Hold.HELD
            else:
                self.record.claims.pop(cell_id, None)

    def _outcome(self, cell_id: str, others: list[RunRecord]) -> Claim:
        for other in others:
            current: RunRecord | None = other
            while current is not None and current.claims.get(cell_id) is Hold.WANTED:
                if current.run_id < self.record.run_id:
                    return Claim.THEIRS
                # It comes behind: it steps back, or has passed us and will hold the cell in a moment.
                time.sleep(_GLANCE_SECONDS)
                current = self._read(current.path)
            if current is not None and current.claims.get(cell_id) is Hold.HELD:
                return Claim.THEIRS
        return Claim.OURS

    def _others(self) -> list[RunRecord]:
        """Returns the records of all other runs that go on."""
        files = (self._storage.relative(info) for info in self._storage.files(FOLDER))
        paths = [path for path in files if path.endswith(".json")]
        found = [record for path in paths if path not in self._over and (record := self._read(path)) is not None]
        self.met_others = self.met_others or bool(found) or (self._pulse.is_alive() and not self._met.issuperset(paths))
        return found

    def _read(self, path: str) -> RunRecord | None:
        """Returns another run's record if that run goes on, as far as one can tell."""
        try:
            record = parse_record(self._storage.read(path))
        except FileNotFoundError:
            return None
        if record is None or record.is_surely_over or self._is_silent(record):
            self._over.add(path)
            return None
        return record

    def _is_silent(self, record: RunRecord) -> bool:
        now = time.monotonic()
        beat, since = self._seen.get(record.path, (-1, now))
        if beat != record.beat:
            self._seen[record.path] = (record.beat, now)
            return False
        return now - since > self._lease

    def _beat(self) -> None:
        while not self._left.wait(BEAT_SECONDS):
            # The next beat tries again; a store that is down for longer is the rows' trouble first.
            with contextlib.suppress(OSError), self._lock:
                self._write()

    def _write(self) -> None:
        self.record.beat += 1
        self.record.told_at = datetime.now(timezone.utc)
        self._storage.put(self.record.path, self.record.model_dump_json().encode(), durable=False)
