"""How runs on a results folder go, from anywhere: from their records and the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.records import Row, State
from harness.claims import LEASE_SECONDS
from harness.run_record import FOLDER, RunRecord, age_seconds, parse_record
from harness.store import ResultStore


@dataclass(frozen=True)
class RunStatus:
    """A run.

    Args:
        record: What its driver told last.
        state: ``running``, ``done``, ``interrupted``; ``lost``: its driver ended without a word; ``silent``: nothing
            was heard of it for two minutes.
        age: Seconds since its driver told it.
    """

    record: RunRecord
    state: str
    age: float


@dataclass(frozen=True)
class ResultsStatus:
    """A results folder.

    Args:
        runs: Its runs, the newest first.
        cells: How many cells have which state, by the attempt that counts.
        n_rows: How many attempts there are.
        newest: When the newest of them began.
    """

    runs: tuple[RunStatus, ...]
    cells: dict[State, int]
    n_rows: int
    newest: datetime | None


def results_status(store: ResultStore, now: datetime) -> ResultsStatus:
    """Returns how it goes in a results folder.

    Args:
        store: The results.
        now: The time.
    """
    infos = [info for info in store.storage.files(FOLDER) if info.path.endswith(".json")]
    records = [parse_record(store.storage.read(store.storage.relative(info))) for info in infos]
    known = sorted((record for record in records if record is not None), key=lambda one: one.started_at, reverse=True)
    contents = store.read()
    latest = contents.latest()
    return ResultsStatus(
        runs=tuple(RunStatus(record, _state(record, now), age_seconds(record, now)) for record in known),
        cells=_counts(latest),
        n_rows=contents.table.num_rows,
        newest=max((row.started_at for row in latest), default=None),
    )


def _counts(rows: Sequence[Row]) -> dict[State, int]:
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in State if counts[state]}


def _state(record: RunRecord, now: datetime) -> str:
    if record.ended is not None:
        return record.ended
    if record.is_surely_over:
        return "lost"
    return "silent" if age_seconds(record, now) > LEASE_SECONDS else "running"
