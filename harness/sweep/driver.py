"""Running a sweep: from the trials that rows describe to enough of them, then the front's scores on test."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle, islice

from benchmarks.rows.row import Row
from harness.execution import Limits, Listener, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.run_plan import run_plan
from harness.planning.plan import Plan, PlannedCell, Status, make_plan
from harness.runs.declaration import RunDeclaration
from harness.runs.shard import Shard
from harness.store import ResultStore, StoreContents
from harness.sweep.definition.file import Sweep
from harness.sweep.study.record import Continuation, continue_study, read_studies, write_study
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import Configurations, Trials, device_seconds, read_trials
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do, given the rows of a store."""

    sweep: Sweep
    configurations: Configurations
    contents: StoreContents
    trials: Trials
    continuation: Continuation

    @property
    def n_to_run(self) -> int:
        """Number of trials to run, unfinished ones among them."""
        return max(0, self.sweep.trials - len(self.trials.finished))

    @property
    def cells_per_trial(self) -> int:
        """Number of cells of a trial."""
        return len(self.sweep.seeds) * len(self.sweep.models) * len(self.sweep.datasets)

    def expected(self) -> Plan:
        """Returns the cells to run as if they were the defaults', splitters taking turns, with their history."""
        seconds: dict[str, float | None] = {}
        for space in self.sweep.spaces:
            own = [trial for trial in self.trials.complete if trial.label == space.label]
            n_rows = sum(len(trial.rows) for trial in own)
            seconds[space.label] = sum(trial.seconds for trial in own) / n_rows if n_rows else None
        return Plan(
            tuple(
                PlannedCell(item, Status.TO_DO, None, seconds[space.label])
                for space in islice(cycle(self.sweep.spaces), self.n_to_run)
                for item in self.configurations.default(space).items
            )
        )

    @property
    def seconds_per_trial(self) -> float | None:
        """Mean time of the complete trials; None without any."""
        complete = self.trials.complete
        return sum(trial.seconds for trial in complete) / len(complete) if complete else None

    def results(self, new_rows: Mapping[str, Row] | None = None) -> SweepResults:
        """Returns the study's results, with rows that were stored since the plan was made, by cell id."""
        by_id = {row.cell_id: row for row in self.contents.latest()}
        for cell_id, row in (new_rows or {}).items():
            if row.state.is_final or cell_id not in by_id or not by_id[cell_id].state.is_final:
                by_id[cell_id] = row
        rows = list(by_id.values())
        trials = read_trials(self.sweep, self.configurations, rows, since=self.continuation.began_at)
        others = sorted({record.study for record in self.continuation.earlier} - {self.continuation.study})
        return SweepResults(self.continuation.study, self.sweep, self.configurations, trials, rows, others)

    def scoring(self, results: SweepResults, shard: Shard | None = None) -> Plan:
        """Returns the cells that score what was chosen on test."""
        items = [item for trial in results.chosen for item in self.configurations.test_items(trial.configuration)]
        return make_plan([item for item in items if shard is None or shard.holds(item.cell.cell_id)], results.rows)


@dataclass(frozen=True)
class SweepReport:
    """How a call of a sweep ended.

    Args:
        plan: What was to be done.
        results: The study's results now.
        shard: The share of the cells on test that this call was to score; None for all.
        interrupted: Whether it was asked to stop.
        spent: Whether its budget was spent before its end.
        concurrency: Most trials at once; 0 if there was none to run.
        run_trials: Number of trials that were run and finished.
        duplicates: Number of proposals that were known configurations.
        refusals: Number of proposals that a splitter refused, by reason.
        seconds: Wall time of the trials.
    """

    plan: SweepPlan
    results: SweepResults
    shard: Shard | None = None
    interrupted: bool = False
    spent: bool = False
    concurrency: int = 0
    run_trials: int = 0
    duplicates: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def unscored(self) -> int:
        """Number of cells on test that are still without a result, of this call's share."""
        return sum(cell.status is not Status.DONE for cell in self.plan.scoring(self.results, self.shard).cells)

    @property
    def is_exhausted(self) -> bool:
        """Whether the spaces hold fewer configurations than the sweep wants trials."""
        is_short = len(self.results.trials.finished) < self.plan.sweep.trials
        return is_short and not self.interrupted and not self.spent and not self.results.trials.unfinished


class SweepListener(Listener):
    """A listener that also hears of the parts of a sweep."""

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Trials begin: ``slots`` at once at most, with ``n_cells`` cells at most in all."""

    def scoring_begins(self, *, n_cells: int) -> None:
        """What was chosen is about to be scored on test."""


def plan_sweep(sweep: Sweep, store: ResultStore) -> SweepPlan:
    """Returns what a sweep would do, given the rows of a store."""
    configurations, contents = Configurations(sweep), store.read()
    continuation = continue_study(sweep, read_studies(store, consent=sweep.consent))
    trials = read_trials(sweep, configurations, contents.latest(), since=continuation.began_at)
    return SweepPlan(sweep, configurations, contents, trials, continuation)


def run_sweep(
    plan: SweepPlan,
    store: ResultStore,
    surroundings: Surroundings,
    *,
    listener: SweepListener,
    address: str | None = None,
    stop: StopSignal | None = None,
    shard: Shard | None = None,
) -> SweepReport:
    """Runs trials until the study has as many as it should, then scores the front on test.

    Rows are stored at once: a sweep that was killed continues from them.

    Args:
        plan: See ``plan_sweep``.
        store: Where rows are stored.
        surroundings: What all cells share.
        listener: Notified of trials and cells.
        address: A Ray cluster's address; None starts Ray on this machine.
        stop: Ends the sweep when it is requested; SIGINT and SIGTERM request it too.
        shard: The share of the cells on test to score; all of them by default.

    Raises:
        ConfigurationError: If a trial requests more than the cluster has, machines differ in the expected versions,
            another driver runs the study, the store cannot be written to, or there are trials left to run although a
            shard is given.
    """
    stop = stop or StopSignal()
    if shard is not None and plan.n_to_run:
        raise ConfigurationError(f"{plan.n_to_run} trials remain; run the sweep without --shard first.")
    store.prepare()
    report = SweepReport(plan, plan.results(), shard)
    if not plan.n_to_run and not plan.scoring(report.results, shard).queue():
        write_study(store, plan.sweep, plan.continuation)
        return report
    # Ray and Tune take seconds to import, and a sweep that has nothing to do needs neither.
    from harness.execution.ray.cluster import connection
    from harness.execution.ray.inspection import require_alike

    with connection(address):
        if surroundings.expected:
            require_alike(surroundings.cache)
        if plan.n_to_run:
            report = _run_trials(plan, store, surroundings, listener, stop)
        if stop.requested:
            return replace(report, interrupted=True)
        return _score(report, store, surroundings, listener, address, stop)


def _run_trials(
    plan: SweepPlan, store: ResultStore, surroundings: Surroundings, listener: SweepListener, stop: StopSignal
) -> SweepReport:
    from harness.execution.ray.cluster import check_fits, gpu_share_of, nodes
    from harness.sweep.study.study import Study
    from harness.sweep.tune.learning_curves import read_curves
    from harness.sweep.tune.row_callback import RowCallback
    from harness.sweep.tune.schedulers import Halving, TrialEnder
    from harness.sweep.tune.tuner import free_slots, run_trials, trial_limits, trial_memory

    sweep, study_id = plan.sweep, plan.continuation.study
    first = plan.configurations.default(sweep.spaces[0]).items[0]
    check_fits([first], sweep.gpu_share)
    gpu_share = gpu_share_of(first.cell, sweep.gpu_share, nodes())
    memory = trial_memory(plan.expected(), plan.contents.table, sweep.gpu_share)
    slots = min(free_slots(first.cell, sweep.gpu_share, memory), sweep.concurrency or plan.n_to_run, plan.n_to_run)
    n_cells = plan.n_to_run * plan.cells_per_trial
    halving = Halving(sweep.early_stopping, sweep.stopping_metric) if sweep.early_stopping else None
    if halving is not None:
        halving.replay(plan.trials.finished, read_curves(store))
    study, limits = Study(sweep, plan.configurations, plan.trials), trial_limits(sweep, gpu_share)
    ender = TrialEnder(study, race=sweep.race, halving=halving)
    began = time.monotonic()
    with RunDeclaration(
        store.storage,
        sweep.name,
        cell_ids=(),
        n_cells=sweep.trials * plan.cells_per_trial,
        to_do=n_cells,
        study=study_id,
    ) as declaration:
        write_study(store, sweep, plan.continuation)
        listener.trials_begin(slots=slots, n_trials=plan.n_to_run, n_cells=n_cells)
        with stop:
            budget = _Budget(plan)
            callback = RowCallback(
                study,
                ender,
                store,
                listener=listener,
                declaration=declaration,
                suite=sweep.name,
                limits=limits,
                is_ending=lambda: stop.requested or budget.is_spent,
            )
            run_trials(
                sweep,
                study,
                ender,
                callback,
                surroundings=surroundings,
                limits=limits,
                concurrency=slots,
                memory=memory,
                should_stop=lambda: stop.requested or budget.check(callback.rows),
            )
        declaration.note_end("interrupted" if stop.requested else "done")
    results = plan.results({row.cell_id: row for row in callback.rows})
    splitters = study.splitters.values()
    return SweepReport(
        plan,
        results,
        spent=budget.is_spent,
        concurrency=slots,
        run_trials=len(results.trials.finished) - len(plan.trials.finished),
        duplicates=sum(splitter.duplicates for splitter in splitters),
        refusals={reason: times for splitter in splitters for reason, times in splitter.refusals.most_common()},
        seconds=time.monotonic() - began,
    )


def _score(
    report: SweepReport,
    store: ResultStore,
    surroundings: Surroundings,
    listener: SweepListener,
    address: str | None,
    stop: StopSignal,
) -> SweepReport:
    """Scores what was chosen on test: an ordinary run of its cells, whose splits are in the cache."""
    from harness.execution.ray.backend import RayBackend
    from harness.planning.memory_needs import memory_needs

    plan = report.plan
    scoring = plan.scoring(report.results, report.shard)
    listener.scoring_begins(n_cells=len(scoring.queue()))
    backend = RayBackend(
        surroundings,
        Limits(),
        address=address,
        gpu_share=plan.sweep.gpu_share,
        workers=plan.sweep.concurrency,
        mixed=not surroundings.expected,
        memory=memory_needs(scoring, plan.contents.table),
    )
    run = run_plan(scoring, store, backend, listener=listener, stop=stop)
    results = replace(plan, contents=run.contents).results()
    return replace(report, results=results, interrupted=stop.requested)


class _Budget:
    """The budget of a sweep: wall time of this call, device time of the whole study."""

    def __init__(self, plan: SweepPlan) -> None:
        limit = plan.sweep.budget.sweep
        self._deadline = None if limit.wall is None else time.monotonic() + limit.wall
        used = device_seconds(row for trial in plan.trials.all for row in trial.rows.values())
        self._device = None if limit.device is None else limit.device - used
        self.is_spent = False

    def check(self, rows: list[Row]) -> bool:
        """Returns whether the budget is spent, given the rows of this call."""
        over_deadline = self._deadline is not None and time.monotonic() >= self._deadline
        over_device = self._device is not None and device_seconds(rows) >= self._device
        self.is_spent = self.is_spent or over_deadline or over_device
        return self.is_spent
