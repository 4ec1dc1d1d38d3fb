"""Ray Tune under a sweep: how many trials at once, on what, and where Tune may scribble."""

from __future__ import annotations

import functools
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import ray
from ray import tune

from benchmarks.cells import Cell
from harness.attempt import Surroundings
from harness.dispatch.cluster import gpu_share_of, memory_limit, nodes, nodes_by_state
from harness.memory import memory_needs
from harness.plan import Plan
from harness.sweep.claiming import CLAIM_SECONDS
from harness.sweep.file import Sweep
from harness.sweep.searcher import DealtSearcher, Follower, FollowingScheduler, LostTrials, SweepStopper
from harness.sweep.trainable import TrialLimits, run_trial

_GRACE_SECONDS = 15.0
"""What a trial gets to end politely."""

_GLANCE_SECONDS = 0.1

_ENVIRONMENT = {
    # Loggers write what the rows say already; the others keep the terminal and the signals ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": str(int(_GRACE_SECONDS)),
    "TUNE_RESULT_BUFFER_LENGTH": "0",
    # The new one writes to stdout whatever it is told.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Workers would otherwise move into a folder of Tune's, where relative paths lead nowhere.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


def memory_of_trials(plan: Plan, rows: pa.Table, gpu_share: float) -> int:
    """Returns the bytes of memory that a trial asks Ray for: what the hungriest of such cells took before, and more.

    No more than the largest machine with room for it has; 0 asks for none, where no earlier row tells.

    Args:
        plan: The cells that trials may run.
        rows: All rows of the store.
        gpu_share: The share of a GPU that each trial asks for.
    """
    wanted, machines = max(memory_needs(plan, rows).values(), default=0), nodes()
    cells = {planned.item.cell.device: planned.item.cell for planned in plan.cells}.values()
    limits = [memory_limit(machines, cell.threads, gpu_share_of(cell, gpu_share, machines)) for cell in cells]
    return int(min([wanted, *limits]))


def free_slots(cell: Cell, gpu_share: float, memory: int = 0) -> int:
    """Returns how many trials fit on what is free of the cluster now; at least one, which then waits.

    Machines that the autoscaler would start count as free.

    Args:
        cell: A cell of a trial.
        gpu_share: The share of a GPU that each trial asks for.
        memory: Bytes of memory that it asks for.
    """
    up, startable = nodes_by_state()
    share = gpu_share_of(cell, gpu_share, [*up, *startable])
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    slots: int = min(
        sum(node.room(cell.threads, share, memory) for node in up),
        math.floor(free.get("CPU", 0.0) / cell.threads + 1e-9),
    )
    if share:
        slots = min(slots, math.floor(free.get("GPU", 0.0) / share + 1e-9))
    return max(1, slots + sum(node.room(cell.threads, share, memory) for node in startable))


def trial_limit(sweep: Sweep, gpu_share: float) -> float | None:
    """Returns the wall time that a trial may take, device time included; None for ever."""
    limit = sweep.budget.trial
    of_device = None if limit.device is None else limit.device / (gpu_share or 1.0)
    return min((seconds for seconds in (limit.wall, of_device) if seconds is not None), default=None)


def tune_trials(
    sweep: Sweep,
    follower: Follower,
    *,
    concurrency: int,
    surroundings: Surroundings,
    is_ending: Callable[[], bool],
    gpu_share: float,
    memory: int = 0,
) -> None:
    """Runs trials until enough are over, or all shall end.

    Args:
        sweep: The sweep.
        follower: Knows the trials: the referee of a sweep, or what scores the chosen.
        concurrency: How many run at once at most.
        surroundings: What all cells share.
        is_ending: Says whether all trials shall end; asked often.
        gpu_share: The share of a GPU that each trial owns; none on CPUs.
        memory: Bytes of memory that each trial asks Ray for; 0 asks for none.
    """
    limits = TrialLimits(trial_limit(sweep, gpu_share), _GRACE_SECONDS, gpu_share)
    resources: dict[str, float] = {"CPU": sweep.threads, "GPU": gpu_share, **({"memory": memory} if memory else {})}
    worker = functools.partial(run_trial, surroundings=surroundings, limits=limits)
    trainable = tune.with_resources(worker, resources)
    _tune(trainable, sweep.name, follower, concurrency, surroundings.cache, is_ending)
    # What waits for its time begins with new workers: idle ones would keep places from the driver that it waits for.
    while follower.is_waiting:
        _wait(is_ending)
        if follower.is_waiting:
            _tune(trainable, sweep.name, follower, concurrency, surroundings.cache, is_ending)


def _tune(
    trainable: Callable[..., Any],
    name: str,
    follower: Follower,
    concurrency: int,
    cache: Path,
    is_ending: Callable[[], bool],
) -> None:
    """Runs trials until the follower has none at the moment."""
    searcher = DealtSearcher(follower)

    def shall_stop() -> bool:
        return searcher.failure is not None or is_ending()

    with _scratch(cache) as folder, _environment():
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=FollowingScheduler(follower),
                # The searcher says when there are enough.
                num_samples=sys.maxsize,
                max_concurrent_trials=concurrency,
                # A worker takes seconds to start; it serves one trial after the other, and is replaced if one dies.
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(folder),
                callbacks=[LostTrials(searcher)],
                stop=SweepStopper(shall_stop),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            tuner.fit()
        finally:
            follower.end_all()
        if searcher.failure is not None:
            raise searcher.failure


def _wait(is_ending: Callable[[], bool]) -> None:
    """Waits as long as a driver does before it asks again for what another one has."""
    until = time.monotonic() + CLAIM_SECONDS
    while time.monotonic() < until and not is_ending():
        time.sleep(_GLANCE_SECONDS)


def _name(trial: object) -> str:
    return str(getattr(trial, "trial_id", trial))


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Gives Tune a folder for its state, which nobody reads, and removes it."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="tune-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment() -> Iterator[None]:
    """Sets what Tune reads from the environment, and keeps its log for what is grave."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_ENVIRONMENT)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
