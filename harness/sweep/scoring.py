"""Scoring on test what was chosen on select: its splits are in the cache, and only the scores are new."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from benchmarks.records import Row, State
from harness.attempt import Outcome, make_row
from harness.dispatch import Limits, Listener
from harness.faults import INFRASTRUCTURE_FAULTS, WORKER_DIED
from harness.plan import is_settled
from harness.provenance import provenance
from harness.suite_cell import SuiteCell
from harness.sweep.claiming import CLAIM_SECONDS, NoRivals, TrialClaims
from harness.sweep.reports import Report, worker_config


@dataclass
class _Group:
    """The cells of a configuration that are left to run.

    Args:
        left: The cells.
        due: When they may begin (``time.monotonic``).
        retries: How often a machine has failed them.
        item: The one that runs.
        begun_at: When it began.
        machine_failed: Whether the last row says that a machine failed it.
    """

    left: list[SuiteCell]
    due: float = float("-inf")
    retries: int = 0
    item: SuiteCell | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    machine_failed: bool = False


class Scoring:
    """Follows the scoring of configurations, each with all its cells on one worker.

    Args:
        groups: The cells that are left to run, by configuration.
        keep: Takes every row.
        listener: Told how cells go on.
        is_ending: Says whether the sweep shall end.
        suite: What rows say asked for them.
        limits: How often, and how soon, cells that a machine failed are tried again.
        claims: Asked before a configuration's cells begin; without, all are ours.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[SuiteCell]],
        *,
        keep: Callable[[Row], None],
        listener: Listener,
        is_ending: Callable[[], bool],
        suite: str,
        limits: Limits | None = None,
        claims: TrialClaims | None = None,
    ) -> None:
        self._waiting = [_Group(list(group)) for group in groups]
        self._keep = keep
        self._listener = listener
        self._is_ending = is_ending
        self._suite = suite
        self._limits = limits or Limits()
        self._claims = claims or NoRivals()
        self._running: dict[str, _Group] = {}

    @property
    def n_running(self) -> int:
        """How many configurations are being scored."""
        return len(self._running)

    @property
    def is_waiting(self) -> bool:
        """Whether a configuration waits for its time."""
        return bool(self._waiting) and not self._is_ending()

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """Returns what the next worker is given, or None if there is nothing now."""
        if self._claims.failure is not None:
            if self._running:
                return None
            raise self._claims.failure
        for group in [group for group in self._waiting if group.due <= time.monotonic()]:
            if self._is_ending():
                return None
            rows = self._claims.take(group.left)
            if rows is None:
                group.due = time.monotonic() + CLAIM_SECONDS
                # Behind the others, which are asked for before it is again.
                self._waiting.remove(group)
                self._waiting.append(group)
                # Asking takes its time, in which nobody hears what runs. Tune asks again in a moment.
                if self._running:
                    return None
                continue
            self._waiting.remove(group)
            settled = {row.cell_id for row in rows if is_settled(row)}
            self._claims.release(list(settled))
            group.left = [item for item in group.left if item.cell.cell_id not in settled]
            if group.left:
                self._running[trial_id] = group
                return worker_config(group.left)
        return None

    def hear(self, trial_id: str, report: Report) -> bool:
        """Takes a report, and says whether the worker goes on."""
        running = self._running.get(trial_id)
        if running is None:
            return False
        if report.event == "begin":
            running.item = next(item for item in running.left if item.cell.cell_id == report.cell_id)
            running.begun_at = datetime.now(timezone.utc)
            self._listener.started(running.item)
        elif running.item is not None and report.row is not None:
            self._store(running, running.item, report.row)
        elif running.item is not None:
            self._listener.progressed(running.item, report.progress)
        return True

    def end(self, trial_id: str, *, has_died: bool = False) -> None:
        """Closes a worker's cells; one that ran still gets the row that says why it did not end."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        if has_died and running.item is None and running.left and not self._is_ending():
            # It died before its first word, or between two cells; without a row, nobody would hear of it.
            running.item, running.begun_at = running.left[0], datetime.now(timezone.utc)
            self._listener.started(running.item)
        if running.item is not None:
            self._store(running, running.item, self._unsaid(running, running.item, has_died=has_died))
        self._claims.release([item.cell.cell_id for item in running.left])
        failed = has_died or running.machine_failed
        if failed and running.left and running.retries < self._limits.retries and not self._is_ending():
            running.due = time.monotonic() + self._limits.backoff * 2**running.retries
            running.retries += 1
            self._waiting.append(running)

    def end_all(self) -> None:
        """Closes what nobody closed, because the sweep was stopped."""
        for trial_id in list(self._running):
            self.end(trial_id)

    def _unsaid(self, running: _Group, item: SuiteCell, *, has_died: bool) -> Row:
        """Returns the row of a cell whose worker cannot write one any more."""
        outcome = Outcome(State.INTERRUPTED, reason="interrupted")
        if has_died and not self._is_ending():
            outcome = Outcome(State.FAILED, reason="the worker died", kind=WORKER_DIED)
        seconds = (datetime.now(timezone.utc) - running.begun_at).total_seconds()
        return make_row(item, self._suite, outcome, source=provenance(), started_at=running.begun_at, seconds=seconds)

    def _store(self, running: _Group, item: SuiteCell, row: Row) -> None:
        self._keep(row)
        self._claims.release([row.cell_id])
        running.item = None
        running.machine_failed = row.failure_kind in INFRASTRUCTURE_FAULTS
        if is_settled(row):
            running.left = [left for left in running.left if left.cell.cell_id != row.cell_id]
        self._listener.finished(item, row)
