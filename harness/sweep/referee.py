"""The driver's part of running trials: it takes rows, keeps the book, and says which trials go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from benchmarks.records import Row, State
from harness.attempt import Outcome, make_row
from harness.dispatch import Listener
from harness.faults import INFRASTRUCTURE_FAULTS, WORKER_DIED
from harness.plan import is_settled
from harness.provenance import provenance
from harness.suite_cell import SuiteCell
from harness.sweep.claiming import NoRivals, TrialClaims
from harness.sweep.curves import CurvePoint
from harness.sweep.dealer import MOST_HELD, Deal, Dealer
from harness.sweep.reports import Report, worker_config
from harness.sweep.trials import STOPPED_EARLY, Trial, TrialState


class Halving(Protocol):
    """Compares running trials at the same step."""

    def lies_behind(self, trial_id: str, label: str, point: CurvePoint) -> bool:
        """Notes a step, and says whether the trial had better end."""


@dataclass
class _Running:
    """A trial under way.

    Args:
        trial_id: Tune's name for it.
        deal: What was dealt.
        trial: What is known of it by now.
        item: The cell that runs.
        begun_at: When that cell began.
        clock: The same, for durations.
        points: Its curve so far.
        dealt: When it was dealt.
        worked: Seconds that its cells took.
        machine_failed: Whether its last row says that a machine failed it.
    """

    trial_id: str
    deal: Deal
    trial: Trial
    item: SuiteCell | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    clock: float = field(default_factory=time.monotonic)
    points: list[CurvePoint] = field(default_factory=list)
    dealt: float = field(default_factory=time.monotonic)
    worked: float = 0.0
    machine_failed: bool = False


@dataclass
class Overhead:
    """What trials cost besides their cells.

    Args:
        trials: How many trials are counted.
        around: Seconds of these trials that were none of their cells': Ray's, Tune's and ours.
        own: Seconds that this process spent on dealing, rows and verdicts.
    """

    trials: int = 0
    around: float = 0.0
    own: float = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Adds a block to what is ours."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.own += time.perf_counter() - began


class Referee:
    """Follows trials from their reports, whoever carries them.

    Args:
        dealer: Deals trials.
        keep: Takes every row, with its curve as far as it was reported, and stores both.
        listener: Told how cells go on.
        is_ending: Says whether the sweep shall end.
        suite: What rows say asked for them.
        limit: Seconds that a trial may take, if there is a limit.
        halving: Compares running trials, if there is early stopping.
        gpu_share: The share of a GPU that each trial has.
        claims: Asked before a trial begins; without, all cells are ours.
    """

    def __init__(
        self,
        dealer: Dealer,
        *,
        keep: Callable[[Row, list[CurvePoint]], None],
        listener: Listener,
        is_ending: Callable[[], bool],
        suite: str,
        limit: float | None = None,
        halving: Halving | None = None,
        gpu_share: float = 0.0,
        claims: TrialClaims | None = None,
    ) -> None:
        self.dealer = dealer
        self.ended: list[Trial] = []
        self.n_answered = 0
        """How many trials need not be run, for another driver has done so in the meantime."""
        self._keep = keep
        self._listener = listener
        self._is_ending = is_ending
        self._suite = suite
        self._limit = limit
        self._halving = halving
        self._gpu_share = gpu_share
        self._claims = claims or NoRivals()
        self._running: dict[str, _Running] = {}
        self._n_begun = 0
        self.overhead = Overhead()

    @property
    def n_running(self) -> int:
        """How many trials run."""
        return len(self._running)

    @property
    def is_waiting(self) -> bool:
        """Whether a trial waits for its time."""
        return not self._is_ending() and self.dealer.is_waiting

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """Returns what the next trial's worker is given, or None if there is none now."""
        began, own = time.perf_counter(), self.overhead.own
        config = self._begin(trial_id)
        if config is not None:
            # What brought no trial is waiting for other drivers, and no trial's cost.
            self.overhead.own = own + time.perf_counter() - began
        return config

    def _begin(self, trial_id: str) -> dict[str, Any] | None:
        if self._claims.failure is not None:
            if self._running:
                return None
            raise self._claims.failure
        most = self.dealer.n_held + MOST_HELD
        while not self._is_ending() and (deal := self.dealer.deal()) is not None:
            began = time.monotonic()
            rows = self._claims.take(deal.trial.missing)
            if rows is None:
                self.dealer.put_back(deal, seconds=time.monotonic() - began)
                most -= 1
            else:
                trial = self._with_rows_of_others(deal.trial, rows)
                if not trial.is_over:
                    self._running[trial_id] = _Running(trial_id, deal, trial)
                    self._n_begun += 1
                    return worker_config(self._ordered(trial.missing))
                self._release(trial)
                self.dealer.finish(trial)
                self.n_answered += 1
            # Asking takes its time, in which nobody hears the trials that run. Tune asks again in a moment.
            if self._running or most < 0 or self._claims.is_blind:
                return None
        return None

    def _with_rows_of_others(self, trial: Trial, rows: Sequence[Row]) -> Trial:
        # An attempt that decides nothing, as of another driver that was interrupted, leaves the cell to be run.
        deciding = [row for row in rows if is_settled(row) or trial.with_row(row).is_over]
        for row in deciding:
            trial = trial.with_row(row)
        return self.dealer.update(trial) if deciding else trial

    def _release(self, trial: Trial) -> None:
        self._claims.release([item.cell.cell_id for item in trial.candidate.items])

    def _ordered(self, items: list[SuiteCell]) -> list[SuiteCell]:
        """Returns a trial's cells with another seed first than the last trial's.

        Trials that begin together then make different base models, and do not wait for each other. Where running trials
        are compared, all begin with the same cell.
        """
        if self._halving is not None:
            return items
        seeds = list(dict.fromkeys(item.cell.seed for item in items))
        first = (self._n_begun - 1) % len(seeds)
        turn = {seed: (place - first) % len(seeds) for place, seed in enumerate(seeds)}
        return sorted(items, key=lambda item: turn[item.cell.seed])

    def hear(self, trial_id: str, report: Report) -> bool:
        """Takes a report, and says whether the trial goes on."""
        with self.overhead.measured():
            return self._hear(trial_id, report)

    def _hear(self, trial_id: str, report: Report) -> bool:
        running = self._running.get(trial_id)
        if running is None:
            return False
        if report.event == "begin":
            self._begin_cell(running, report.cell_id)
        elif report.event == "row" and report.row is not None:
            return self._take(running, report.row)
        elif running.item is not None:
            self._listener.progressed(running.item, report.progress)
            if report.event == "step":
                return self._step(running, report)
        return True

    def end(self, trial_id: str, *, has_died: bool = False) -> None:
        """Closes a trial that is over for Tune, however that came."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        self.overhead.trials += 1
        self.overhead.around += time.monotonic() - running.dealt - running.worked
        with self.overhead.measured():
            if has_died and running.item is None and not running.trial.is_over and not self._is_ending():
                # It died before its first word, or between two cells; without a row, nobody would hear of it.
                self._begin_cell(running, running.trial.missing[0].cell.cell_id)
            if running.item is not None:
                self._store(running, self._unsaid(running, has_died=has_died))
            self._release(running.trial)
            again = (has_died or running.machine_failed) and not self._is_ending()
            self.ended.append(self.dealer.finish(running.trial, again=again))

    def end_all(self) -> None:
        """Closes all trials that nobody closed, because the sweep was stopped."""
        for trial_id in list(self._running):
            self.end(trial_id)

    def _begin_cell(self, running: _Running, cell_id: str) -> None:
        items = {item.cell.cell_id: item for item in running.trial.candidate.items}
        running.item = items[cell_id]
        running.begun_at, running.clock = datetime.now(timezone.utc), time.monotonic()
        running.points = []
        self._listener.started(running.item)

    def _take(self, running: _Running, row: Row) -> bool:
        self._store(running, row)
        if row.state is not State.OK:
            return False
        judged = self.dealer.update(running.trial)
        running.trial = judged
        return judged.state is not TrialState.BEATEN

    def _store(self, running: _Running, row: Row) -> None:
        item = running.item
        running.worked += row.seconds
        running.machine_failed = row.failure_kind in INFRASTRUCTURE_FAULTS
        self._keep(row, running.points)
        self._claims.release([row.cell_id])
        running.trial = running.trial.with_row(row)
        running.item = None
        if item is not None:
            self._listener.finished(item, row)

    def _step(self, running: _Running, report: Report) -> bool:
        running.points.append(CurvePoint.of(report))
        first = running.trial.candidate.items[0].cell.cell_id
        # Halving compares like with like: all configurations on the same seed, data set and model.
        if self._halving is None or report.cell_id != first:
            return True
        label = running.trial.candidate.space.label
        if not self._halving.lies_behind(running.trial_id, label, running.points[-1]):
            return True
        self._store(running, self._row(running, _stopped(report)))
        return False

    def _unsaid(self, running: _Running, *, has_died: bool) -> Row:
        """Returns the row of a cell whose worker cannot write one any more."""
        seconds = time.monotonic() - running.clock
        if self._is_ending() or not has_died:
            return self._row(running, Outcome(State.INTERRUPTED, reason="interrupted"))
        if self._limit is not None and seconds >= self._limit:
            reason = f"the trial took longer than {self._limit:g} s; it did not end and was killed"
            return self._row(running, Outcome(State.TIMEOUT, reason=reason))
        return self._row(running, Outcome(State.FAILED, reason="the trial's worker died", kind=WORKER_DIED))

    def _row(self, running: _Running, outcome: Outcome) -> Row:
        if running.item is None:
            raise RuntimeError("no cell runs whose row could be written.")
        return make_row(
            running.item,
            self._suite,
            outcome,
            source=provenance(),
            started_at=running.begun_at,
            seconds=time.monotonic() - running.clock,
            gpu_share=self._gpu_share,
        )


def _stopped(report: Report) -> Outcome:
    told: dict[str, Any] = {name: f"{value:.4g}" for name, value in report.metrics.items()}
    numbers = f"accuracy {told.get('accuracy')}, kernel retention {told.get('kernel_retention')}"
    return Outcome(
        State.INTERRUPTED, reason=f"stopped early at step {report.step}: it lay behind ({numbers})", kind=STOPPED_EARLY
    )
