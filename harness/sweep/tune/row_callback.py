"""The Tune callback that stores the rows of trials, and writes those that a trial can no longer report itself."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune import Callback

from benchmarks.rows.row import Row, State
from harness.execution import Limits, Listener
from harness.execution.attempt import Outcome, make_row
from harness.faults import INFRASTRUCTURE_FAULTS, NODE_OUT_OF_MEMORY, WORKER_DIED
from harness.machines.provenance import provenance
from harness.runs.declaration import RunDeclaration
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep.study.study import Study
from harness.sweep.tune.learning_curves import CurvePoint, curve_of, write_curve
from harness.sweep.tune.schedulers import TrialEnder
from harness.sweep.tune.searcher import Unpickled
from harness.sweep.tune.trainable import report_of, trial_config


@dataclass
class _RunningCell:
    """A cell that a trial is running, and its curve so far."""

    item: SuiteCell
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    clock: float = field(default_factory=time.monotonic)
    points: list[CurvePoint] = field(default_factory=list)


@dataclass(eq=False)
class RowCallback(Unpickled, Callback):
    """Stores every row as soon as it is reported, and adds it to the study.

    A trial that Tune starts again after a failure of its machine goes on with the cells that it has not finished.

    Args:
        study: Gets the rows, as does the store.
        ender: The scheduler, whose verdicts become rows.
        store: See ``study``.
        listener: Notified of each cell.
        declaration: The run's record, which keeps track of cells too.
        suite: The sweep's name, for rows.
        limits: The limits of a trial.
        is_ending: Returns whether the sweep is ending, so that cells are interrupted.
        gpu_share: The share of a GPU that a trial owns.
    """

    study: Study
    ender: TrialEnder
    store: ResultStore
    listener: Listener
    declaration: RunDeclaration
    suite: str
    limits: Limits
    is_ending: Callable[[], bool]
    gpu_share: float = 0.0
    rows: list[Row] = field(default_factory=list, init=False)
    failure: OSError | None = field(default=None, init=False)
    """Why a row could not be stored anywhere; the sweep then ends."""
    _running: dict[str, _RunningCell] = field(default_factory=dict, init=False)
    _trial_clocks: dict[str, float] = field(default_factory=dict, init=False)
    _faults: Counter[str] = field(default_factory=Counter, init=False)
    _faults_reported: set[str] = field(default_factory=set, init=False)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Take a report, and the scheduler's verdict on it."""
        report, key = report_of(result), trial.config["key"]
        if report is None:
            return
        if report.event == "begin":
            self._begin(key, report.cell_id)
        elif report.row is not None:
            if report.row.failure_kind in INFRASTRUCTURE_FAULTS:
                self._faults_reported.add(key)
            self._end(key, report.row)
        elif (cell := self._running.get(key)) is not None:
            if report.event == "step":
                cell.points.append(CurvePoint.of(report))
            self.declaration.progressed(cell.item, report.progress)
            self.listener.progressed(cell.item, report.progress)
        verdict = self.ender.verdicts.pop(key, None)
        if verdict is not None:
            self._end(key, self._row(key, Outcome(State.INTERRUPTED, reason=verdict.reason, kind=verdict.kind)))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Record that a trial's machine failed; Tune starts it again, with the cells that are left."""
        self._fail(trial)
        known = self.study.trials.by_key[trial.config["key"]]
        self._faults[known.key] += 1
        delay = self.limits.delay(self._faults[known.key])
        items = [] if known.is_finished else known.missing
        trial.set_config(trial_config(known.key, items, delay=delay if items else 0.0))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Record that a trial's machine failed for the last time."""
        self._fail(trial)

    def interrupt_all(self) -> None:
        """End the cells of trials that Tune stopped without a report, as it does at the end of the sweep."""
        for key in list(self._running):
            self._end(key, self._row(key, Outcome(State.INTERRUPTED, reason="interrupted")))

    def _begin(self, key: str, cell_id: str) -> None:
        items = self.study.trials.by_key[key].configuration.items
        cell = _RunningCell(next(item for item in items if item.cell.cell_id == cell_id))
        self._running[key] = cell
        self._trial_clocks.setdefault(key, cell.clock)
        self.declaration.started(cell.item)
        self.listener.started(cell.item)

    def _fail(self, trial: Any) -> None:
        key = trial.config["key"]
        trial_began = self._trial_clocks.pop(key, None)
        if key in self._faults_reported:
            self._faults_reported.discard(key)
            return
        if key not in self._running:
            # Its process died before the first cell or between two; a row must say so all the same.
            self._begin(key, self.study.trials.by_key[key].missing[0].cell.cell_id)
            self._trial_clocks.pop(key)
        limit = self.limits.timeout
        if self.is_ending():
            outcome = Outcome(State.INTERRUPTED, reason="interrupted")
        elif limit is not None and trial_began is not None and time.monotonic() - trial_began >= limit:
            reason = f"the trial took longer than {limit:g} s; it did not end and was killed"
            outcome = Outcome(State.TIMEOUT, reason=reason)
        else:
            outcome = _death(trial.get_pickled_error())
        self._end(key, self._row(key, outcome))

    def _end(self, key: str, row: Row) -> None:
        cell = self._running.pop(key)
        try:
            self.store.write(row)
        except OSError as error:
            self.failure = error
            return
        # The row holds the figures too; a curve that cannot be stored is no reason to end the sweep.
        with contextlib.suppress(OSError):
            write_curve(self.store, row, curve_of(row, cell.points))
        self.rows.append(row)
        self.study.add_row(key, row)
        self.declaration.finished(row)
        self.listener.finished(cell.item, row)

    def _row(self, key: str, outcome: Outcome) -> Row:
        cell = self._running[key]
        return make_row(
            cell.item,
            self.suite,
            outcome,
            source=provenance(),
            started_at=cell.started_at,
            seconds=time.monotonic() - cell.clock,
            gpu_share=self.gpu_share,
        )


def _death(error: BaseException | None) -> Outcome:
    """Return the outcome of a cell whose process ended with an error of Ray's, or of our own code in it."""
    if isinstance(error, OutOfMemoryError):
        return Outcome(State.OUT_OF_MEMORY, reason="its machine ran out of memory", kind=NODE_OUT_OF_MEMORY)
    cause = next(iter(str(error or "").strip().splitlines()), "")
    return Outcome(State.FAILED, reason=f"the trial's worker died: {cause}".rstrip(": "), kind=WORKER_DIED)
