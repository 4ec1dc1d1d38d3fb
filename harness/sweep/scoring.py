"""Scoring on test what was chosen on select: its splits are in the cache, and only the scores are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from benchmarks.records import Row, State
from harness.attempt import Outcome, make_row
from harness.dispatch import Listener
from harness.faults import WORKER_DIED
from harness.provenance import provenance
from harness.suite_cell import SuiteCell
from harness.sweep.reports import Report, worker_config


@dataclass
class _Running:
    """Cells that a worker was given, the one that runs, and when that began."""

    items: Sequence[SuiteCell]
    item: SuiteCell | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


class Scoring:
    """Follows the scoring of configurations, each with all its cells on one worker.

    Args:
        groups: The cells that are left to run, by configuration.
        keep: Takes every row.
        listener: Told how cells go on.
        is_ending: Says whether the sweep shall end.
        suite: What rows say asked for them.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[SuiteCell]],
        *,
        keep: Callable[[Row], None],
        listener: Listener,
        is_ending: Callable[[], bool],
        suite: str,
    ) -> None:
        self._waiting = list(groups)
        self._keep = keep
        self._listener = listener
        self._is_ending = is_ending
        self._suite = suite
        self._running: dict[str, _Running] = {}

    @property
    def n_running(self) -> int:
        """How many configurations are being scored."""
        return len(self._running)

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """Returns what the next worker is given, or None if there is nothing left."""
        if not self._waiting or self._is_ending():
            return None
        items = self._waiting.pop(0)
        self._running[trial_id] = _Running(items)
        return worker_config(items)

    def hear(self, trial_id: str, report: Report) -> bool:
        """Takes a report, and says whether the worker goes on."""
        running = self._running.get(trial_id)
        if running is None:
            return False
        if report.event == "begin":
            running.item = next(item for item in running.items if item.cell.cell_id == report.cell_id)
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
        if running is None or running.item is None:
            return
        outcome = Outcome(State.INTERRUPTED, reason="interrupted")
        if has_died and not self._is_ending():
            outcome = Outcome(State.FAILED, reason="the worker died", kind=WORKER_DIED)
        seconds = (datetime.now(timezone.utc) - running.begun_at).total_seconds()
        row = make_row(
            running.item, self._suite, outcome, source=provenance(), started_at=running.begun_at, seconds=seconds
        )
        self._store(running, running.item, row)

    def end_all(self) -> None:
        """Closes what nobody closed, because the sweep was stopped."""
        for trial_id in list(self._running):
            self.end(trial_id)

    def _store(self, running: _Running, item: SuiteCell, row: Row) -> None:
        self._keep(row)
        running.item = None
        self._listener.finished(item, row)
