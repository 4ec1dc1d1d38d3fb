"""Run a sweep: base models, then trials until there are enough, then the scores of the front on test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.rows.row import State
from benchmarks.scenarios.scenario import make_scenario
from harness.execution import Limits, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.run_plan import run_plan
from harness.planning.plan import Status
from harness.runs.declaration import RunDeclaration
from harness.runs.record import RunRecord
from harness.runs.shard import Shard
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep.listener import SweepListener
from harness.sweep.plan import SweepPlan
from harness.sweep.study.record import write_study
from harness.sweep.study.results import SweepResults
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class SweepReport:
    """How a call of a sweep ended.

    Args:
        shard: The share of the cells on test that this call was to score; None for all.
        spent: Whether its budget was spent before its end.
        left_to_others: The cells that other runs had declared before and have not finished, each with its run.
        concurrency: Maximum number of trials at once; 0 if there was none to run.
        run_trials: Number of trials that were finished.
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
    from harness.sweep.study.study import Study
    from harness.sweep.tune.schedulers import TrialEnder
    from harness.sweep.tune.tuner import Budget, run_trials, trial_resources

    began, resources = time.monotonic(), trial_resources(plan)
    with (
        RunDeclaration(
            store.storage,
            plan.sweep.name,
            cell_ids=(),
            n_cells=plan.sweep.trials * plan.cells_per_trial,
            to_do=plan.n_to_run * plan.cells_per_trial,
            study=plan.continuation.study,
            time_left=plan.time_left(),
        ) as declaration,
        stop,
    ):
        if declaration.had_other_driver(since=plan.read_at):
            # It may have run trials after the rows were read and before this run was declared.
            plan = plan.refreshed(store)
        write_study(store, plan.sweep, plan.continuation)
        if not plan.n_to_run:
            return SweepReport(plan, plan.results())
        budget = Budget(plan)
        elsewhere = {cell_id: other for other in declaration.living_others() for cell_id in other.declared}
        study = Study(plan.sweep, plan.configurations, plan.trials, elsewhere=elsewhere)
        ender = TrialEnder.of(plan, study, store)
        _prepare(plan, surroundings, listener, stop)
        if stop.requested:
            declaration.note_end("interrupted")
            return SweepReport(plan, plan.results(), concurrency=resources.slots)
        rows = run_trials(
            plan,
            study,
            ender,
            resources,
            store,
            surroundings,
            listener=listener,
            declaration=declaration,
            stop=stop,
            budget=budget,
        )
        declaration.note_end("interrupted" if stop.requested else "done")
    results, splitters = plan.results(rows), study.splitters.values()
    return SweepReport(
        plan,
        results,
        spent=budget.is_spent,
        left_to_others={cell_id: elsewhere[cell_id] for cell_id in study.left_to_others},
        concurrency=resources.slots,
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
    if not items or (surroundings.shared_cache is None and len(nodes()) > 1):
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
