"""The state of the runs on a results folder, read from their records and rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from benchmarks.rows.row import Row, State
from harness.runs.declaration import ALIVE_SECONDS
from harness.runs.record import RunRecord, age_seconds, read_records
from harness.store import LATEST_COLUMNS, ResultStore, StoreContents


@dataclass(frozen=True)
class RunStatus:
    """A run.

    Args:
        record: Its record.
        state: ``running``, ``done``, ``interrupted``; ``lost``: its driver was killed; ``silent``: no heartbeat for two
            minutes.
        age: Seconds since its last heartbeat.
    """

    record: RunRecord
    state: str
    age: float


@dataclass(frozen=True)
class ResultsStatus:
    """A results folder.

    Args:
        runs: Its runs, the newest first.
        cells: Number of cells by state of the attempt that counts.
        n_rows: Number of attempts.
        newest: When the newest of them started.
        failures: The attempts that count of the cells that are neither ``ok`` nor ``skipped``, the newest first.
    """

    runs: tuple[RunStatus, ...]
    cells: dict[State, int]
    n_rows: int
    newest: datetime | None
    failures: tuple[Row, ...] = ()


def run_statuses(store: ResultStore, now: datetime) -> tuple[RunStatus, ...]:
    """Return the runs of a results folder at a time, the newest first, without reading its rows."""
    records = [record for record, _ in read_records(store.storage)]
    known = sorted(records, key=lambda record: record.order, reverse=True)
    return tuple(RunStatus(record, _state(record, now), age_seconds(record, now)) for record in known)


def results_status(
    store: ResultStore,
    now: datetime,
    *,
    contents: StoreContents | None = None,
    runs: tuple[RunStatus, ...] | None = None,
) -> ResultsStatus:
    """Return the state of a results folder at a time.

    Args:
        store: The results folder.
        now: The time.
        contents: Its rows, if they have been read already.
        runs: Its runs, if they have been read already.
    """
    runs = run_statuses(store, now) if runs is None else runs
    contents = store.read(columns=LATEST_COLUMNS - {"figures"}) if contents is None else contents
    latest = contents.latest()
    states = latest.values("state")
    failures = latest.filter(np.array([not State(state).is_final for state in states], np.bool_))
    counts = Counter(states)
    return ResultsStatus(
        runs=runs,
        cells={state: counts[state.value] for state in State if counts[state.value]},
        n_rows=contents.table.num_rows,
        newest=max(latest.values("started_at"), default=None),
        failures=tuple(sorted(failures, key=lambda row: row.started_at, reverse=True)),
    )


def _state(record: RunRecord, now: datetime) -> str:
    if record.ended is not None:
        return record.ended
    if record.has_ended:
        return "lost"
    return "silent" if age_seconds(record, now) > ALIVE_SECONDS else "running"
