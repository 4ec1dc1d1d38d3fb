"""Measure what many cells cost the driver: planning them, resuming from their rows, and ranking them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from benchmarks.rows.row import Metrics, State
from harness.config.expand import expand
from harness.config.suite import Suite, make_suite
from harness.execution.attempt import Outcome, make_row
from harness.machines.provenance import provenance
from harness.planning.plan import make_plan
from harness.ranking.leaderboard import make_leaderboard
from harness.store import ResultStore
from harness.store.row_copies import GROWTH
from harness.store.row_files import encode_row
from harness.suite_cell import SuiteCell

LIMIT_SECONDS = 5.0
"""Each step on 10,000 cells must stay below this, but for ``READ_FILES``."""

READ_FILES = "read all rows from their files"
"""Reading without any copy of rows, which runs normally leave behind; users do not wait for this."""

ResultT = TypeVar("ResultT")

_SPLITTERS = ("full", "random", "importance", "gradsplitter", "cnnsplitter")
_MODELS = ("simcnn", "rescnn")


@dataclass(frozen=True)
class Step:
    """One measured step.

    Args:
        name: What was done.
        seconds: How long it took.
        cpu_seconds: How much processor time it took, which other programs do not lengthen as much.
    """

    name: str
    seconds: float
    cpu_seconds: float


def measure(n_cells: int) -> list[Step]:
    """Measure planning, resuming and ranking.

    Args:
        n_cells: How many cells, rounded down to a multiple of ten.
    """
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        suite = _suite(n_cells)
        store = ResultStore(Path(folder) / "results", cache=Path(folder) / "cache")
        elsewhere = ResultStore(Path(folder) / "results", cache=Path(folder) / "cache of another machine")
        cells = _timed(steps, "expand the suite", lambda: expand(suite))
        _timed(steps, "plan without rows", lambda: make_plan(cells, []).queue())
        _write_rows(store, cells)
        contents = _timed(steps, READ_FILES, lambda: store.read(share=True))
        contents = _timed(steps, "read all rows again", store.read)
        _timed(steps, "read them on another machine", elsewhere.read)
        latest = _timed(steps, "choose the rows that count", contents.latest)
        plan = _timed(steps, "plan with a row per cell", lambda: make_plan(cells, latest))
        if plan.queue():
            raise RuntimeError(f"{len(plan.queue())} cells would be run again")
        _timed(steps, "leaderboard", lambda: make_leaderboard(latest))
        # As many rows without a copy as a driver can leave that is killed.
        _write_rows(store, cells[: round(GROWTH * n_cells)])
        third = ResultStore(Path(folder) / "results", cache=Path(folder) / "cache of a third machine")
        _timed(steps, "read where a tenth has no copy", third.read)
    return steps


def _timed(steps: list[Step], name: str, function: Callable[[], ResultT]) -> ResultT:
    began, cpu = time.perf_counter(), time.process_time()
    result = function()
    steps.append(Step(name, time.perf_counter() - began, time.process_time() - cpu))
    return result


def _suite(n_cells: int) -> Suite:
    n_seeds = max(1, n_cells // (len(_SPLITTERS) * len(_MODELS)))
    values = {
        "name": "many",
        "seeds": n_seeds,
        "models": list(_MODELS),
        "datasets": ["digits"],
        "splitters": list(_SPLITTERS),
    }
    return make_suite(values, title="the benchmark")


def _write_rows(store: ResultStore, cells: list[SuiteCell]) -> None:
    source, now = provenance(), datetime.now(timezone.utc)
    for number, item in enumerate(cells):
        loss = (number % 17) / 1000
        metrics = Metrics(base_accuracy=0.9, composed_accuracy=0.9 - loss, accuracy_loss=loss, kernel_retention=0.5)
        row = make_row(item, "many", Outcome(State.OK, metrics), source=source, started_at=now, seconds=1.0)
        folder = f"rows/in_scenario={row.scenario}/in_dataset={row.dataset}"
        # As the store writes it, without waiting for the disk ten thousand times.
        store.storage.put(f"{folder}/{row.cell_id[:16]}-{row.attempt_id}.parquet", encode_row(row), durable=False)
