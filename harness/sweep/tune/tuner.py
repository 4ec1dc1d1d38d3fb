"""Run the trials of a study with Ray Tune: resources, concurrency, budget, and Tune's own surroundings."""

from __future__ import annotations

import functools
import logging
import math
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import ray
from filelock import FileLock, Timeout
from ray import tune

from benchmarks.cells import Cell
from benchmarks.rows.row import Row
from harness.execution import Limits, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.ray.cluster import (
    check_fits,
    gpu_share_of,
    memory_limit,
    nodes,
    nodes_by_state,
    temporary_environment,
)
from harness.planning.memory_needs import memory_needs
from harness.planning.plan import Plan
from harness.runs.declaration import RunDeclaration
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.listener import SweepListener
from harness.sweep.plan import SweepPlan
from harness.sweep.study.study import Study
from harness.sweep.study.trials import device_seconds
from harness.sweep.tune.row_callback import RowCallback
from harness.sweep.tune.schedulers import TrialEnder
from harness.sweep.tune.searcher import StudySearcher, SweepStopper
from harness.sweep.tune.trainable import run_trial

_ENVIRONMENT = {
    # Rows hold what Tune's loggers would write; the rest keeps the terminal and the signals ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": str(int(Limits().grace)),
    "TUNE_RESULT_BUFFER_LENGTH": "0",
    # The new output engine writes to stdout whatever its verbosity.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Relative paths of workers mean the driver's folder, not one of Tune's.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class TrialResources:
    """What trials get.

    Args:
        slots: Maximum number of trials at once.
        gpu_share: The share of a GPU of each.
        memory: Bytes of memory that each requests; 0 requests none.
        limits: Time limits and retries of each.
    """

    slots: int
    gpu_share: float
    memory: int
    limits: Limits


def trial_resources(plan: SweepPlan) -> TrialResources:
    """Return what the trials of a sweep get on the cluster as it is now.

    Raises:
        ConfigurationError: If a trial requests more than the cluster has.
    """
    sweep, first = plan.sweep, plan.configurations.default(plan.sweep.spaces[0]).items[0]
    check_fits([first], sweep.gpu_share)
    gpu_share = gpu_share_of(first.cell, sweep.gpu_share, nodes())
    memory = trial_memory(plan.expected(), plan.contents.table, sweep.gpu_share)
    slots = min(free_slots(first.cell, sweep.gpu_share, memory), sweep.concurrency or plan.n_to_run, plan.n_to_run)
    return TrialResources(slots, gpu_share, memory, trial_limits(sweep, gpu_share))


def trial_memory(plan: Plan, rows: pa.Table, gpu_share: float) -> int:
    """Return the bytes of memory that a trial requests: what such cells took before, with a margin.

    At most what the largest suitable machine has; 0 requests none, where no earlier row tells.

    Args:
        plan: The cells that trials may run.
        rows: All rows of the store.
        gpu_share: The share of a GPU that each trial requests.
    """
    needed, machines = max(memory_needs(plan, rows).values(), default=0), nodes()
    cells = {planned.item.cell.device: planned.item.cell for planned in plan.cells}.values()
    limits = [memory_limit(machines, cell.threads, gpu_share_of(cell, gpu_share, machines)) for cell in cells]
    return int(min([needed, *limits]))


def free_slots(cell: Cell, gpu_share: float, memory: int = 0) -> int:
    """Return how many trials fit on what is free of the cluster now, and on machines that the autoscaler would start.

    Args:
        cell: A cell of a trial.
        gpu_share: The share of a GPU that each trial requests.
        memory: Bytes of memory that it requests.

    Returns:
        At least one trial, which may have to wait.
    """
    up, startable = nodes_by_state()
    share = gpu_share_of(cell, gpu_share, [*up, *startable])
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    slots = min(
        sum(node.room(cell.threads, share, memory) for node in up),
        math.floor(free.get("CPU", 0.0) / cell.threads + 1e-9),
    )
    if share:
        slots = min(slots, math.floor(free.get("GPU", 0.0) / share + 1e-9))
    return max(1, slots + sum(node.room(cell.threads, share, memory) for node in startable))


def trial_limits(sweep: Sweep, gpu_share: float) -> Limits:
    """Return the limits of a trial: its budgets of wall and device time, as wall time."""
    limit = sweep.budget.trial
    by_device = None if limit.device is None else limit.device / (gpu_share or 1.0)
    return Limits(timeout=min((seconds for seconds in (limit.wall, by_device) if seconds is not None), default=None))


class Budget:
    """The budget of a sweep: wall time of this call, from now on, and device time of the whole study."""

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


def run_trials(
    plan: SweepPlan,
    study: Study,
    ender: TrialEnder,
    resources: TrialResources,
    store: ResultStore,
    surroundings: Surroundings,
    *,
    listener: SweepListener,
    declaration: RunDeclaration,
    stop: StopSignal,
    budget: Budget,
) -> list[Row]:
    """Run a study's trials until there are enough, a stop is requested, or the budget is spent; return their rows.

    Raises:
        OSError: If a row could not be stored anywhere.
    """
    limits, gpu_share, memory = resources.limits, resources.gpu_share, resources.memory
    n_cells = study.n_left * plan.cells_per_trial
    listener.trials_begin(slots=resources.slots, n_trials=study.n_left, n_cells=n_cells)
    callback = RowCallback(
        study,
        ender,
        store,
        listener=listener,
        declaration=declaration,
        suite=plan.sweep.name,
        limits=limits,
        gpu_share=gpu_share,
        is_ending=lambda: stop.requested or budget.is_spent,
    )
    requested = {"CPU": plan.sweep.threads, "GPU": gpu_share, **({"memory": memory} if memory else {})}
    trainable = functools.partial(run_trial, surroundings=surroundings, limits=limits, gpu_share=gpu_share)
    with _scratch_folder(surroundings.cache) as folder, temporary_environment(_ENVIRONMENT), _silent_log():
        tuner = tune.Tuner(
            tune.with_resources(trainable, requested),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(study),
                scheduler=ender,
                num_samples=study.n_left,
                max_concurrent_trials=resources.slots,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=plan.sweep.name,
                storage_path=str(folder),
                callbacks=[callback],
                stop=SweepStopper(
                    lambda: callback.failure is not None or stop.requested or budget.check(callback.rows)
                ),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=limits.retries),
            ),
        )
        try:
            tuner.fit()
        finally:
            callback.interrupt_all()
            study.tell_all()
    if callback.failure is not None:
        raise callback.failure
    return callback.rows


def _trial_name(trial: object) -> str:
    return str(getattr(trial, "trial_id", trial))


@contextmanager
def _scratch_folder(cache: Path) -> Iterator[Path]:
    """Give Tune a folder for its state, and remove it, and those of drivers that were killed.

    A driver holds the lock beside its folder as long as it lives.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for lock in cache.glob("tune-*.lock"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
        except Timeout:
            continue
    folder = cache / f"tune-{uuid.uuid4().hex[:12]}"
    lock = folder.with_suffix(".lock")
    with FileLock(lock):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


@contextmanager
def _silent_log() -> Iterator[None]:
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
