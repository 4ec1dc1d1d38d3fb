"""A plan: which cells of a suite are done, failed or to do, and how long the latter may take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row, State
from harness.faults import INFRASTRUCTURE_FAULTS
from harness.garbage_collection import without_garbage_collection
from harness.runs.time_left import TimeLeft
from harness.suite_cell import CellKind, SuiteCell
from splitters.errors import UnknownNameError

PLAN_COLUMNS = frozenset(
    (
        "cell_id", "attempt_id", "state", "started_at", "failure_kind", "seconds",
        "scenario", "splitter", "model", "dataset", "dataset_hash", "other_dataset_hash",
    )
)  # fmt: skip
"""The columns of rows that plans are made from."""

RETRIED_KINDS = INFRASTRUCTURE_FAULTS | {"DataError"}
"""Failures that a later run retries by itself: those of machines, and those of data that was not available yet."""


class Status(str, Enum):
    """The status of a cell in a plan."""

    DONE = "done"
    FAILED = "failed"
    TO_DO = "to do"


@dataclass(frozen=True)
class EarlierAttempt:
    """What a plan knows of the attempt at a cell that counts so far.

    Args:
        attempt_id: Its id.
        state: How it ended.
        failure_kind: The class of its failure.
        seconds: How long it took.
    """

    attempt_id: str
    state: State
    failure_kind: str | None
    seconds: float

    def status(self, retry: Container[str | None] = ()) -> Status:
        """Return the status of its cell.

        Args:
            retry: States and failure kinds to retry, beside those that always are.
        """
        if self.state.is_final:
            return Status.DONE
        is_temporary = self.state is not State.FAILED or self.failure_kind in RETRIED_KINDS
        is_wanted = self.state.value in retry or self.failure_kind in retry
        return Status.TO_DO if is_temporary or is_wanted else Status.FAILED


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what will happen to it.

    Args:
        item: The cell.
        status: ``done``: a final row exists. ``failed``: the method failed and is not retried. ``to do``: it runs.
        earlier: The attempt that counts so far.
        seconds: Estimated duration, from earlier rows; None without history.
    """

    item: SuiteCell
    status: Status
    earlier: EarlierAttempt | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """All cells of a suite, in the suite's order."""

    cells: tuple[PlannedCell, ...]

    def with_status(self, status: Status) -> list[PlannedCell]:
        """Return the cells of a status."""
        return [planned for planned in self.cells if planned.status is status]

    def queue(self) -> list[SuiteCell]:
        """Return the cells to run, in the order in which they should start.

        Cells that read another splitter's result come last, because they would wait for it. Among the others, those
        without history come first, in the suite's order, and then the longest.
        """
        to_do = self.with_status(Status.TO_DO)
        return [planned.item for planned in sorted(to_do, key=_start_order)]

    @property
    def seconds(self) -> float:
        """The total duration of all cells to do that have a history."""
        return sum(cell.seconds or 0.0 for cell in self.with_status(Status.TO_DO))

    @property
    def history(self) -> dict[CellKind, float]:
        """The expected duration of a cell, by kind, where there is a history."""
        return {planned.item.kind: planned.seconds for planned in self.cells if planned.seconds is not None}

    @property
    def without_history(self) -> int:
        """The number of cells to do that have no history."""
        return sum(cell.seconds is None for cell in self.with_status(Status.TO_DO))

    def time_left(self) -> TimeLeft:
        """Return an estimate of the time that the cells to do take, which follows their run."""
        return TimeLeft((planned.item for planned in self.with_status(Status.TO_DO)), history=self.history)


def _start_order(planned: PlannedCell) -> tuple[bool, bool, float]:
    return planned.item.reads_another, planned.seconds is not None, -(planned.seconds or 0.0)


@without_garbage_collection
def make_plan(
    cells: Sequence[SuiteCell],
    latest: Iterable[Row],
    *,
    retry: Iterable[str] = (),
    outdated: Container[str] = (),
) -> Plan:
    """Return the plan of a suite.

    ``ok`` and ``skipped`` cells never run again. ``timeout``, ``out_of_memory`` and ``interrupted`` cells do, and so do
    failures of the infrastructure or for lack of data. Any other failure is the method's own and would happen again, so
    such a cell runs again only if ``retry`` names it.

    Args:
        cells: The suite's cells.
        latest: The attempt that counts of each known cell.
        retry: Further states (``failed``) or failure kinds (``SplitFailedError``) to retry.
        outdated: Attempts that were measured on other images; see ``find_outdated_rows``.

    Raises:
        UnknownNameError: If nothing in the store has such a state or kind.
    """
    rows = Rows.of(latest)
    kinds = rows.values("failure_kind")
    wanted = _known_kinds(retry, kinds)
    columns = (rows.values(name) for name in ("cell_id", "attempt_id", "state", "seconds"))
    earlier = {
        cell_id: EarlierAttempt(attempt_id, State(state), kind, seconds)
        for cell_id, attempt_id, state, seconds, kind in zip(*columns, kinds, strict=True)
    }
    history = _history(rows)
    planned = []
    for item in cells:
        attempt = earlier.get(item.cell.cell_id)
        is_outdated = attempt is not None and attempt.attempt_id in outdated
        status = Status.TO_DO if attempt is None or is_outdated else attempt.status(wanted)
        planned.append(PlannedCell(item, status, attempt, history.get(item.kind)))
    return Plan(tuple(planned))


def settled_attempts(rows: Rows) -> dict[str, str]:
    """Return the cells that rows settle unless another attempt is requested, each with the attempt that does."""
    columns = (rows.values(name) for name in ("cell_id", "attempt_id", "state", "failure_kind", "seconds"))
    return {
        cell_id: attempt_id
        for cell_id, attempt_id, state, kind, seconds in zip(*columns, strict=True)
        if EarlierAttempt(attempt_id, State(state), kind, seconds).status() is not Status.TO_DO
    }


def _known_kinds(retry: Iterable[str], kinds: Iterable[str | None]) -> frozenset[str]:
    wanted = frozenset(retry)
    states = {state.value for state in State if not state.is_final}
    known = {kind for kind in kinds if kind} | states
    for name in wanted:
        if name not in known:
            raise UnknownNameError("state or failure kind", name, known, where="--retry")
    return wanted


def _history(rows: Rows) -> Mapping[CellKind, float]:
    succeeded = rows.filter(rows.equal("state", State.OK.value))
    seconds: defaultdict[CellKind, list[float]] = defaultdict(list)
    columns = (succeeded.values(name) for name in ("scenario", "splitter", "model", "dataset", "seconds"))
    for *kind, taken in zip(*columns, strict=True):
        seconds[tuple(kind)].append(taken)
    return {key: fmean(values) for key, values in seconds.items()}
