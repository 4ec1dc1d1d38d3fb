"""One attempt at one cell, in this process: whatever happens, it ends as a row."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmarks.cells import Cell
from benchmarks.rows.row import Metrics, Provenance, Row, State
from benchmarks.seeding import seed_global_generators
from benchmarks.threads import torch_threads
from harness.config.plugins import Plugins
from harness.execution.isolation import NotRestoredError, restored_process
from harness.execution.observers import ObserverGuard, plain_progress
from harness.faults import NODE_DIFFERS, NODE_DISK, PROCESS_NOT_RESTORED, is_disk_fault
from harness.machines.node_facts import differences
from harness.machines.provenance import provenance
from harness.suite_cell import SuiteCell
from splitters.foreign_code import message_of
from splitters.methods.protocol import Progress, ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.scenarios.scenario import Scenario

_LOG = logging.getLogger(__name__)
_LONGEST_REASON = 500


class CellStopped(BaseException):
    """Raised out of the progress callback to end a cell.

    Like ``KeyboardInterrupt`` it is no ``Exception``, so that no splitter takes it for an error of its own.

    Args:
        state: How the attempt ends: ``timeout`` or ``interrupted``.
        reason: One line.
    """

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


@dataclass(frozen=True)
class Surroundings:
    """What all cells of a run share; none of it changes a result.

    Args:
        suite: The suite's name.
        cache: Folder of decoded data, trained weights and finished splits.
        data_root: Folder of data sets, if one was named.
        download: Whether absent data may be fetched.
        plugins: Modules that register what the cells name.
        shared_cache: Folder or URI through which machines share trained weights, splits and checkpoints.
        expected: Versions that a machine must have to compute a cell; see ``harness.machines.node_facts.versions``.
    """

    suite: str
    cache: Path
    data_root: Path | None = None
    download: bool = False
    plugins: Plugins = field(default_factory=Plugins)
    shared_cache: str | None = None
    expected: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Args:
        state: Its state.
        metrics: What was measured; empty unless ``ok``.
        reason: Why it is not ``ok``, in one line.
        kind: The class of the failure.
        traceback: The whole traceback, if there was an exception.
    """

    state: State
    metrics: Metrics = field(default_factory=Metrics)
    reason: str | None = None
    kind: str | None = None
    traceback: str | None = None


Work = Callable[["Scenario", Cell, "Workspace"], Metrics]
"""What an attempt does with a cell; a function of a module, since it is sent to workers."""


def measure(scenario: Scenario, cell: Cell, workspace: Workspace) -> Metrics:
    """Measure a cell."""
    return scenario.measure(cell, workspace)


def prepare(scenario: Scenario, cell: Cell, workspace: Workspace) -> Metrics:
    """Compute and cache what a cell shares with others, and measure nothing."""
    scenario.prepare(cell, workspace)
    return Metrics()


def run_attempt(
    item: SuiteCell,
    surroundings: Surroundings,
    *,
    device: str,
    gpu_share: float = 0.0,
    progress: ProgressCallback = ignore_progress,
    work: Work = measure,
) -> Row:
    """Run a cell and return its row.

    Args:
        item: The cell.
        surroundings: What all cells share.
        device: The torch device that the cell owns.
        gpu_share: The share of that GPU.
        progress: Called often; raises ``CellStopped`` to end the cell. Its own errors are logged and change nothing.
        work: What is done with the cell.
    """
    started_at, clock = datetime.now(timezone.utc), time.perf_counter()
    source = provenance(device)  # what an attempt leaves behind may break torch
    different = differences(surroundings.expected)
    if different:
        outcome = Outcome(State.FAILED, reason=f"this machine has {', '.join(different)}", kind=NODE_DIFFERS)
    else:
        guard = ObserverGuard()

        def report(made: Progress) -> None:
            guard(lambda: progress(plain_progress(made)))

        outcome = _isolated_outcome(item.cell, surroundings, device, gpu_share, report, work)
        if guard.message is not None:
            _LOG.warning("%s: reporting its progress failed: %s", item.title, guard.message)
    return make_row(
        item,
        surroundings.suite,
        outcome,
        source=source,
        started_at=started_at,
        seconds=time.perf_counter() - clock,
        gpu_share=gpu_share,
    )


def make_row(
    item: SuiteCell,
    suite: str,
    outcome: Outcome,
    *,
    source: Provenance,
    started_at: datetime,
    seconds: float,
    gpu_share: float = 0.0,
) -> Row:
    """Return the row of an attempt.

    Args:
        item: The cell.
        suite: The suite's name.
        outcome: How the attempt ended.
        source: Where the row comes from.
        started_at: When the attempt began.
        seconds: How long it took.
        gpu_share: The share of a GPU that it had.
    """
    cell = item.cell
    values = {name: getattr(outcome.metrics, name) for name in Metrics.model_fields}
    return Row(
        **source.model_dump(),
        **values,
        cell_id=cell.cell_id,
        attempt_id=uuid.uuid4().hex[:12],
        suite=suite,
        state=outcome.state,
        reason=_storable(outcome.reason),
        failure_kind=_storable(outcome.kind),
        traceback=_storable(outcome.traceback),
        started_at=started_at,
        seconds=seconds,
        scenario=cell.scenario,
        splitter=cell.splitter.name,
        splitter_label=item.label,
        model=cell.model.name,
        dataset=cell.dataset.name,
        plugins=list(item.plugins) or None,
        seed=cell.seed,
        threads=cell.threads,
        gpu_share=gpu_share,
        config=cell.model_dump_json(),
    )


def _isolated_outcome(
    cell: Cell, surroundings: Surroundings, device: str, gpu_share: float, progress: ProgressCallback, work: Work
) -> Outcome:
    """Return how a cell ends, having undone what it changed in this process."""
    try:
        with restored_process(), torch_threads(cell.threads):
            seed_global_generators(cell.seed)
            return _outcome(lambda: _do(work, cell, surroundings, device, gpu_share, progress))
    except NotRestoredError as error:
        return _failure(error, State.FAILED, PROCESS_NOT_RESTORED)


def _storable(text: str | None) -> str | None:
    """Return text with lone surrogates, which file names may contain and Parquet cannot hold, written as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _do(
    work: Work, cell: Cell, surroundings: Surroundings, device: str, gpu_share: float, progress: ProgressCallback
) -> Metrics:
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.scenarios.current_code import check_code_unchanged
    from benchmarks.scenarios.scenario import make_scenario
    from splitters.networks.execution.compilation import compiling
    from splitters.networks.execution.gpu_memory import owning_gpu_share
    from splitters.networks.execution.precision import computing_in

    surroundings.plugins.load()
    check_code_unchanged(cell)
    progress(Progress("start", 0))
    warnings: list[str] = []
    workspace = Workspace(
        cache=surroundings.cache,
        data_root=surroundings.data_root,
        download=surroundings.download,
        device=device,
        progress=progress,
        shared_cache=surroundings.shared_cache,
        suite_folder=surroundings.plugins.suite_folder,
        warn=warnings.append,
        isolated=restored_process,
    )
    # A cell without a share runs on a CPU, or was given its GPU by other means than Ray.
    with computing_in(cell.precision, device), compiling(cell.compile), owning_gpu_share(gpu_share or 1.0):
        metrics = work(make_scenario(cell.scenario, cell.scenario_settings), cell, workspace)
    return metrics.model_copy(update={"warnings": [*dict.fromkeys(warnings), *metrics.warnings]})


def _outcome(measure: Callable[[], Metrics]) -> Outcome:
    import torch

    from benchmarks.scenarios.scenario import CellSkippedError

    try:
        return Outcome(State.OK, measure())
    except NotRestoredError:
        raise
    except CellStopped as stop:
        return Outcome(stop.state, reason=stop.reason)
    except KeyboardInterrupt:
        return Outcome(State.INTERRUPTED, reason="interrupted")
    except CellSkippedError as skip:
        return Outcome(State.SKIPPED, reason=reason_of(skip))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return _failure(error, State.OUT_OF_MEMORY)
    except OSError as error:
        return _failure(error, State.FAILED, NODE_DISK if is_disk_fault(error) else None)
    except ValidationError as error:
        kind = "not_finite" if any(item["type"] == "finite_number" for item in error.errors()) else None
        return _failure(error, State.FAILED, kind)
    # The attempt's whole purpose is to turn what a method does, sys.exit and panics included, into a row that says so.
    except BaseException as error:
        return _failure(error, State.FAILED)


def _failure(error: BaseException, state: State, kind: str | None = None) -> Outcome:
    return Outcome(
        state,
        reason=_not_finite(error) if kind == "not_finite" else reason_of(error),
        kind=kind or type(error).__name__,
        traceback="".join(traceback.format_exception(error)),
    )


def _not_finite(error: BaseException) -> str:
    if not isinstance(error, ValidationError):
        return reason_of(error)
    wrong = [
        f"{'.'.join(map(str, item['loc']))} is {item['input']}"
        for item in error.errors()
        if item["type"] == "finite_number"
    ]
    return f"not finite: {', '.join(wrong)}"


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, shortened if it is very long; without a message, its type."""
    lines = message_of(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # Tables, run lines and reports show reasons in full; the traceback has the rest.
    left_out = len(lines[0]) - _LONGEST_REASON
    return lines[0] if left_out <= 0 else f"{lines[0][:_LONGEST_REASON]}… ({left_out:,} more characters)"
