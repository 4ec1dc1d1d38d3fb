"""Running a sweep: what rows know, trials until there are enough, the front's scores on test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice

from benchmarks.records import Row
from harness.attempt import Surroundings
from harness.dispatch import Listener, StopSignal
from harness.plan import Plan, PlannedCell, Status, make_plan
from harness.runs.declaration import RunDeclaration
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep.candidates import Cells
from harness.sweep.checks import curve_metric
from harness.sweep.claiming import NoRivals, TrialClaims
from harness.sweep.curves import CurvePoint, curve_of, read_curves, write_curve
from harness.sweep.dealer import Dealer
from harness.sweep.definitions import Continuation, continue_study, read_definitions, write_definition
from harness.sweep.file import Sweep
from harness.sweep.referee import Overhead, Referee
from harness.sweep.results import SweepResults, read_results
from harness.sweep.stopwatch import Stopwatch
from harness.sweep.trials import TrialBook, read_trials
from splitters.methods.protocol import Progress


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do.

    Args:
        sweep: The sweep.
        cells: Its cells.
        book: The trials that rows know already.
        continuation: The study that it goes on with.
    """

    sweep: Sweep
    cells: Cells
    book: TrialBook
    continuation: Continuation

    @property
    def n_to_run(self) -> int:
        """How many trials are to be run, unfinished ones among them."""
        return max(0, self.sweep.trials - len(self.book.over))

    def expected(self) -> Plan:
        """Returns the cells that are to be run, as far as one can tell before: splitters in turn, with their defaults.

        How long a cell takes is the mean over the splitter's complete trials; nothing is known without one.
        """
        seconds: dict[str, float | None] = {}
        for space in self.sweep.spaces:
            rows = [
                row
                for trial in self.book.complete
                if trial.candidate.space.label == space.label
                for row in trial.rows.values()
            ]
            seconds[space.label] = sum(row.seconds for row in rows) / len(rows) if rows else None
        turns = islice(cycle(self.sweep.spaces), self.n_to_run)
        return Plan(
            tuple(
                PlannedCell(item, Status.TO_DO, None, seconds[space.label])
                for space in turns
                for item in self.cells.candidate(space, space.default or {}).items
            )
        )

    @property
    def seconds_per_trial(self) -> float | None:
        """How long a trial has taken so far on average; None without history."""
        complete = self.book.complete
        return sum(trial.seconds for trial in complete) / len(complete) if complete else None


@dataclass(frozen=True)
class SweepReport:
    """How a call of a sweep ended.

    Args:
        plan: What was to be done.
        results: The study as it is now.
        interrupted: Whether somebody asked for the end.
        spent: Whether the budget was spent before its end.
        concurrency: How many trials ran at once at most; 0 if none was to be run.
        overhead: What trials cost besides their cells.
        run_trials: How many trials were run now, and are over.
        answered_trials: How many need not be run, for another driver has done so in the meantime.
        repeats: How many proposals were answered from what was known.
        refusals: Combinations that a splitter refused, with how often they were proposed.
        seconds: How long the trials took, wall time.
    """

    plan: SweepPlan
    results: SweepResults
    interrupted: bool = False
    spent: bool = False
    concurrency: int = 0
    overhead: Overhead = field(default_factory=Overhead)
    run_trials: int = 0
    answered_trials: int = 0
    repeats: int = 0
    refusals: Sequence[tuple[str, int]] = ()
    seconds: float = 0.0

    @property
    def is_exhausted(self) -> bool:
        """Whether the spaces hold fewer configurations than there should be trials."""
        is_short = len(self.results.book.over) < self.plan.sweep.trials
        return is_short and not self.interrupted and not self.spent and not self.results.book.unfinished


class SweepListener(Listener):
    """A listener that also hears of the parts of a sweep."""

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Says that trials begin.

        Args:
            slots: How many run at once at most.
            n_trials: How many are to be run.
            n_cells: How many cells these have at most.
        """

    def scoring_begins(self, *, n_cells: int) -> None:
        """Says that so many cells are run to score on test what was chosen."""


def plan_sweep(sweep: Sweep, store: ResultStore) -> SweepPlan:
    """Returns what a sweep would do, from the rows that the store holds."""
    cells = Cells(sweep)
    book = read_trials(sweep, cells, store.read().latest())
    return SweepPlan(sweep, cells, book, continue_study(sweep, read_definitions(store, consent=sweep.consent)))


def run_sweep(
    plan: SweepPlan,
    store: ResultStore,
    surroundings: Surroundings,
    *,
    listener: SweepListener,
    address: str | None = None,
    stop: StopSignal | None = None,
) -> SweepReport:
    """Runs trials until the study has as many as it should, then scores the front on test.

    Everything that counts is in rows, at once: a sweep that was killed goes on from them.

    Args:
        plan: See ``plan_sweep``.
        store: Where rows go.
        surroundings: What all cells share.
        listener: Told how cells go on.
        address: A Ray cluster's address; None starts Ray on this machine.
        stop: Ends the sweep when it is requested; SIGINT and SIGTERM request it too.

    Raises:
        ConfigurationError: If a trial asks for more than the cluster has, machines differ in versions that the
            surroundings expect, another driver runs the same study, or the store cannot be written to.
    """
    stop = stop or StopSignal()
    store.prepare()
    scorer = _Scorer(plan.sweep, plan.cells, store, surroundings)
    if not plan.n_to_run and not scorer.is_needed(plan.book):
        write_definition(store, plan.continuation.study, plan.sweep)
        return SweepReport(plan, read_results(store, plan.continuation.study, consent=plan.sweep.consent))
    # Ray and Tune take seconds to import, and a sweep that has nothing to do needs neither.
    from harness.dispatch.cluster import connection
    from harness.dispatch.inspection import require_alike

    n_cells = len(plan.sweep.seeds) * len(plan.sweep.models) * len(plan.sweep.datasets)
    counts = {"n_cells": plan.sweep.trials * n_cells, "to_do": plan.n_to_run * n_cells}
    study = plan.continuation.study
    with RunDeclaration(store.storage, plan.sweep.name, cell_ids=(), study=study, **counts) as declared:
        # Another driver may have run trials since the plan was made.
        plan = plan_sweep(plan.sweep, store)
        write_definition(store, plan.continuation.study, plan.sweep)
        told = _Relay(listener, declared)
        with connection(address), stop:
            if surroundings.expected:
                require_alike(surroundings.cache)
            claims = NoRivals()
            report = _run_trials(plan, store, surroundings, told, stop, claims)
            if not stop.requested:
                scorer.score(report.results.book, stop, listener=told, claims=claims, slots=report.concurrency)
        declared.note_end("interrupted" if stop.requested else "done")
    store.read(share=True)
    results = read_results(store, plan.continuation.study, consent=plan.sweep.consent)
    return replace(report, results=results, interrupted=stop.requested)


class _Relay(SweepListener):
    """Passes events on to a listener and to the run's record."""

    def __init__(self, listener: SweepListener, declared: RunDeclaration) -> None:
        self._listener = listener
        self._declared = declared

    def started(self, item: SuiteCell) -> None:
        self._declared.started(item)
        self._listener.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        self._declared.progressed(item, progress)
        self._listener.progressed(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        self._declared.finished(row)
        self._listener.finished(item, row)

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        self._listener.trials_begin(slots=slots, n_trials=n_trials, n_cells=n_cells)

    def scoring_begins(self, *, n_cells: int) -> None:
        self._declared.add(n_cells)
        self._listener.scoring_begins(n_cells=n_cells)


def _run_trials(
    plan: SweepPlan,
    store: ResultStore,
    surroundings: Surroundings,
    listener: SweepListener,
    stop: StopSignal,
    claims: TrialClaims,
) -> SweepReport:
    from harness.dispatch.cluster import check_fits, gpu_share_of, nodes
    from harness.sweep.halving import AshaHalving
    from harness.sweep.tuning import free_slots, memory_of_trials, trial_limit, tune_trials

    sweep = plan.sweep
    if not plan.n_to_run:
        return SweepReport(plan, SweepResults(plan.continuation.study, sweep, plan.cells, plan.book, ()))
    first = plan.cells.candidate(sweep.spaces[0], sweep.spaces[0].default or {}).items[0]
    check_fits([first], sweep.gpu_share)
    gpu_share = gpu_share_of(first.cell, sweep.gpu_share, nodes())
    memory = memory_of_trials(plan.expected(), store.read().table, sweep.gpu_share)
    slots = min(free_slots(first.cell, sweep.gpu_share, memory), sweep.concurrency or plan.n_to_run, plan.n_to_run)
    n_cells = plan.n_to_run * len(plan.cells.candidate(sweep.spaces[0], sweep.spaces[0].default or {}).items)
    listener.trials_begin(slots=slots, n_trials=plan.n_to_run, n_cells=n_cells)
    dealer = Dealer(sweep, plan.cells, plan.book, slots=slots)
    used = _DeviceTime()
    stopwatch = Stopwatch(sweep.budget.sweep.wall, _device_left(plan), used.seconds)
    stopping = sweep.early_stopping

    def keep(row: Row, points: list[CurvePoint]) -> None:
        store.write(row)
        write_curve(store, row, curve_of(row, points))
        used.add(row)

    def is_ending() -> bool:
        return stop.requested or stopwatch()

    halving = AshaHalving(stopping, curve_metric(sweep)) if stopping else None
    if halving is not None:
        halving.remember(plan.book, read_curves(store))
    referee = Referee(
        dealer,
        keep=keep,
        listener=listener,
        is_ending=is_ending,
        suite=sweep.name,
        limit=trial_limit(sweep, gpu_share),
        halving=halving,
        gpu_share=gpu_share,
        claims=claims,
    )
    began = time.monotonic()
    tune_trials(
        sweep, referee, concurrency=slots, surroundings=surroundings,
        is_ending=is_ending, gpu_share=gpu_share, memory=memory,
    )  # fmt: skip
    dealer.close()
    return SweepReport(
        plan,
        SweepResults(plan.continuation.study, sweep, plan.cells, dealer.book, ()),
        interrupted=stop.requested,
        spent=stopwatch.is_spent,
        concurrency=slots,
        overhead=referee.overhead,
        run_trials=sum(trial.is_over for trial in referee.ended),
        answered_trials=referee.n_answered,
        repeats=dealer.repeats,
        refusals=dealer.refusals.most_common(),
        seconds=time.monotonic() - began,
    )


def _device_left(plan: SweepPlan) -> float | None:
    whole = plan.sweep.budget.sweep.device
    return None if whole is None else max(0.0, whole - sum(trial.device_seconds for trial in plan.book.trials))


@dataclass
class _DeviceTime:
    """Seconds of a device that rows tell of."""

    total: float = 0.0

    def add(self, row: Row) -> None:
        self.total += row.seconds * (row.gpu_share or 1.0)

    def seconds(self) -> float:
        return self.total


@dataclass(frozen=True)
class _Scorer:
    """Scores on test what was chosen on select."""

    sweep: Sweep
    cells: Cells
    store: ResultStore
    surroundings: Surroundings

    def is_needed(self, book: TrialBook) -> bool:
        """Says whether something that was chosen has no score yet."""
        return bool(self._plans(book, self.store.read().latest()))

    def score(
        self, book: TrialBook, stop: StopSignal, *, listener: SweepListener, claims: TrialClaims, slots: int
    ) -> None:
        """Runs the test-scored cells of what was chosen, as far as they have no rows.

        Args:
            book: All trials.
            stop: Ends it when it is requested.
            listener: Told how cells go on.
            claims: Asked before a configuration's cells begin.
            slots: How many trials ran at once, whose room may not all be free again yet; 0 if none ran.
        """
        from harness.dispatch.cluster import gpu_share_of, nodes
        from harness.sweep.scoring import Scoring
        from harness.sweep.tuning import free_slots, memory_of_trials, tune_trials

        contents = self.store.read()
        plans = self._plans(book, contents.latest())
        groups = [plan.queue() for plan in plans]
        listener.scoring_begins(n_cells=sum(map(len, groups)))
        if not groups:
            return
        cell, share = groups[0][0].cell, self.sweep.gpu_share
        memory = memory_of_trials(
            Plan(tuple(planned for plan in plans for planned in plan.cells)), contents.table, share
        )
        scoring = Scoring(
            groups,
            keep=lambda row: _discard(self.store.write(row)),
            listener=listener,
            is_ending=lambda: stop.requested,
            suite=self.sweep.name,
            claims=claims,
        )
        tune_trials(
            self.sweep,
            scoring,
            concurrency=min(
                slots or free_slots(cell, share, memory), self.sweep.concurrency or len(groups), len(groups)
            ),
            surroundings=self.surroundings,
            is_ending=lambda: stop.requested,
            gpu_share=gpu_share_of(cell, share, nodes()),
            memory=memory,
        )

    def _plans(self, book: TrialBook, latest: Sequence[Row]) -> list[Plan]:
        """Returns what is to be run of each configuration that was chosen and has something left."""
        results = SweepResults("", self.sweep, self.cells, book, ())
        plans = [make_plan(self.cells.scored(trial.candidate), latest) for trial in results.chosen]
        return [plan for plan in plans if plan.queue()]


def _discard(path: str) -> None:
    """Takes what nobody asks for."""
