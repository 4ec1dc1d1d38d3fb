"""Run a sweep: base models, then trials until there are enough, then the scores of the front on test."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.rows.row import Row, State
from benchmarks.scenarios.scenario import make_scenario
from harness.execution import Limits, Listener, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.run_plan import run_plan
from harness.planning.plan import Status
from harness.runs.declaration import RunDeclaration
from harness.runs.record import RunRecord
from harness.runs.shard import Shard
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep.plan import SweepPlan
from harness.sweep.study.record import write_study
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import device_seconds
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class SweepReport:
    """How a call of a sweep ended.

    Args:
        plan: What was to be done.
        results: The study's results now.
        shard: The share of the cells on test that this call was to score; None for all.
        interrupted: Whether it was asked to stop.
        spent: Whether its budget was spent before its end.
        left_to_others: The cells that other runs had declared before and have not finished, each with its run.
        concurrency: Maximum number of trials at once; 0 if there was none to run.
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
    left_to_others: Mapping[str, RunRecord] = field(default_factory=dict)
    concurrency: int = 0
    run_trials: int = 0
    duplicates: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def unscored(self) -> int:
        """Number of cells on test that are still without a result, of this call's share and not left to others."""
        return sum(
            cell.status is not Status.DONE and cell.item.cell.cell_id not in self.left_to_others
            for cell in self.plan.scoring(self.results, self.shard).cells
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether the spaces hold fewer configurations than the sweep wants trials."""
        is_short = len(self.results.trials.finished) < self.plan.sweep.trials
        has_ended_early = self.interrupted or self.spent or self.left_to_others
        return is_short and not has_ended_early and not self.results.trials.unfinished


class SweepListener(Listener):
    """A listener that is also notified of the parts of a sweep."""

    def preparation_begins(self, *, n_models: int) -> None:
        """Base models are about to be trained."""

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Trials are about to start: at most ``slots`` at once, with at most ``n_cells`` cells in all."""

    def scoring_begins(self, *, n_cells: int) -> None:
        """What was chosen is about to be scored on test."""


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
    """Run trials until the study has as many as it should, then score the front on test.

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
        return _score(report, store, surroundings, listener, stop)


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
    limits, began = trial_limits(sweep, gpu_share), time.monotonic()
    with (
        RunDeclaration(
            store.storage,
            sweep.name,
            cell_ids=(),
            n_cells=sweep.trials * plan.cells_per_trial,
            to_do=n_cells,
            study=study_id,
        ) as declaration,
        stop,
    ):
        write_study(store, sweep, plan.continuation)
        elsewhere = {cell_id: other for other in declaration.living_others() for cell_id in other.declared}
        study = Study(sweep, plan.configurations, plan.trials, elsewhere=elsewhere)
        ender, budget = TrialEnder(study, race=sweep.race, halving=halving), _Budget(plan)
        callback = RowCallback(
            study,
            ender,
            store,
            listener=listener,
            declaration=declaration,
            suite=sweep.name,
            limits=limits,
            gpu_share=gpu_share,
            is_ending=lambda: stop.requested or budget.is_spent,
        )
        _prepare(plan, surroundings, listener, stop)
        listener.trials_begin(slots=slots, n_trials=plan.n_to_run, n_cells=n_cells)
        run_trials(
            sweep,
            study,
            ender,
            callback,
            surroundings=surroundings,
            limits=limits,
            gpu_share=gpu_share,
            concurrency=slots,
            memory=memory,
            should_stop=lambda: stop.requested or budget.check(callback.rows),
        )
        declaration.note_end("interrupted" if stop.requested else "done")
    results, splitters = plan.results(callback.rows), study.splitters.values()
    return SweepReport(
        plan,
        results,
        spent=budget.is_spent,
        left_to_others={cell_id: elsewhere[cell_id] for cell_id in study.left_to_others},
        concurrency=slots,
        run_trials=len(results.trials.finished) - len(plan.trials.finished),
        duplicates=sum(splitter.duplicates for splitter in splitters),
        refusals={reason: times for splitter in splitters for reason, times in splitter.refusals.most_common()},
        seconds=time.monotonic() - began,
    )


def _prepare(plan: SweepPlan, surroundings: Surroundings, listener: SweepListener, stop: StopSignal) -> None:
    """Train the base models of trials on Ray, each once, so that no trial holds a GPU while another one trains.

    A failure is left to the trials, whose rows say why. Machines that share no cache train them in their trials.
    """
    from harness.execution.attempt import prepare
    from harness.execution.ray.backend import RayBackend
    from harness.execution.ray.cluster import nodes
    from harness.execution.ray.worker import CellWorkers

    items = _base_models(plan)
    if not items or (surroundings.mirror is None and len(nodes()) > 1):
        return
    listener.preparation_begins(n_models=len(items))
    workers = CellWorkers(surroundings, prepare)
    backend = RayBackend(surroundings, Limits(), gpu_share=plan.sweep.gpu_share, mixed=True, start_worker=workers)
    for _ in backend.run(items, stop=stop, listener=listener):
        pass


def _base_models(plan: SweepPlan) -> Sequence[SuiteCell]:
    """Return a cell for each base model that no finished cell of the study has used."""
    from harness.execution.ray.preparations import base_model_key

    first = plan.configurations.default(plan.sweep.spaces[0]).items
    scenario = make_scenario(first[0].cell.scenario, first[0].cell.scenario_settings)
    if not scenario.has_preparation():
        return ()
    used = {
        base_model_key(item.cell)
        for trial in plan.trials.all
        for item in trial.configuration.items
        if (row := trial.rows.get(item.cell.cell_id)) is not None and row.state is State.OK
    }
    return [item for item in first if base_model_key(item.cell) not in used]


def _score(
    report: SweepReport,
    store: ResultStore,
    surroundings: Surroundings,
    listener: SweepListener,
    stop: StopSignal,
) -> SweepReport:
    """Score what was chosen on test: an ordinary run of its cells, whose splits are in the cache."""
    from harness.execution.ray.backend import RayBackend
    from harness.planning.memory_needs import memory_needs

    plan = report.plan
    scoring = plan.scoring(report.results, report.shard)
    listener.scoring_begins(n_cells=len(scoring.queue()))
    backend = RayBackend(
        surroundings,
        Limits(),
        gpu_share=plan.sweep.gpu_share,
        workers=plan.sweep.concurrency,
        mixed=not surroundings.expected,
        memory=memory_needs(scoring, plan.contents.table),
    )
    run = run_plan(scoring, store, backend, listener=listener, stop=stop)
    return replace(
        report,
        results=replace(plan, contents=run.contents).results(),
        left_to_others={**report.left_to_others, **run.left_to_others},
        interrupted=stop.requested,
    )


class _Budget:
    """The budget of a sweep: wall time of this call, device time of the whole study."""

    def __init__(self, plan: SweepPlan) -> None:
        limit = plan.sweep.budget.sweep
        self._deadline = None if limit.wall is None else time.monotonic() + limit.wall
        used = device_seconds(row for trial in plan.trials.all for row in trial.rows.values())
        self._device = None if limit.device is None else limit.device - used
        self.is_spent = False

    def check(self, rows: Iterable[Row]) -> bool:
        """Return whether the budget is spent, given the rows of this call."""
        over_deadline = self._deadline is not None and time.monotonic() >= self._deadline
        over_device = self._device is not None and device_seconds(rows) >= self._device
        self.is_spent = self.is_spent or over_deadline or over_device
        return self.is_spent
