"""What a run would do: which cells are done, which failed, which are to do, and how long that may take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from benchmarks.rows.row import Row, State
from harness.faults import INFRASTRUCTURE_FAULTS
from harness.suite_cell import SuiteCell
from splitters.errors import UnknownNameError

RETRIED_KINDS = INFRASTRUCTURE_FAULTS | {"DataError"}
"""Failures that a later run tries again without being asked: the machine's, and those of data that is not there yet."""


class Status(str, Enum):
    """What a plan says of a cell."""

    DONE = "done"
    FAILED = "failed"
    TO_DO = "to do"


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what is to happen to it.

    Args:
        item: The cell.
        status: ``done``: a final row exists. ``failed``: the method failed and is not tried again. ``to do``: it runs.
        earlier: The attempt that counts so far.
        seconds: How long the cell may take, from earlier rows; None without history.
    """

    item: SuiteCell
    status: Status
    earlier: Row | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """All cells of a suite, in the suite's order."""

    cells: tuple[PlannedCell, ...]

    def with_status(self, status: Status) -> list[PlannedCell]:
        """Returns the cells of one status."""
        return [planned for planned in self.cells if planned.status is status]

    def queue(self) -> list[SuiteCell]:
        """Returns the cells to run, in the order in which they had best begin.

        Cells that read another splitter's result come last, for they would wait for it. Otherwise those without
        history come first, as the suite has them, and then the long ones.
        """
        to_do = self.with_status(Status.TO_DO)
        return [planned.item for planned in sorted(to_do, key=_begins)]

    @property
    def seconds(self) -> float:
        """The time of all cells to do that have history, one after the other."""
        return sum(cell.seconds or 0.0 for cell in self.with_status(Status.TO_DO))

    @property
    def without_history(self) -> int:
        """How many cells to do have none."""
        return sum(cell.seconds is None for cell in self.with_status(Status.TO_DO))


def _begins(planned: PlannedCell) -> tuple[bool, bool, float]:
    return planned.item.reads_another, planned.seconds is not None, -(planned.seconds or 0.0)


def make_plan(
    cells: Sequence[SuiteCell],
    latest: Iterable[Row],
    *,
    retry: Iterable[str] = (),
    outdated: Container[str] = (),
) -> Plan:
    """Returns what is to be done.

    ``ok`` and ``skipped`` are never run again. A ``timeout``, ``out_of_memory`` or ``interrupted`` cell is, and so is a
    failure of the infrastructure or of absent data. Any other failure is the method's own: it would fail again, so it
    is tried again only if ``retry`` asks for it.

    Args:
        cells: The suite's cells.
        latest: The attempt that counts of each known cell.
        retry: States (``failed``) or failure kinds (``SplitFailedError``) to try again too.
        outdated: Attempts that were measured on other images; see ``find_changed_data``.

    Raises:
        UnknownNameError: If nothing in the store has such a state or kind.
    """
    rows = list(latest)
    wanted = _known_kinds(retry, rows)
    by_id = {row.cell_id: row for row in rows}
    history = _history(rows)
    planned = []
    for item in cells:
        earlier = by_id.get(item.cell.cell_id)
        is_outdated = earlier is not None and earlier.attempt_id in outdated
        status = Status.TO_DO if is_outdated else _status(earlier, wanted)
        planned.append(PlannedCell(item, status, earlier, history.get(history_key(item))))
    return Plan(tuple(planned))


def _known_kinds(retry: Iterable[str], rows: Sequence[Row]) -> frozenset[str]:
    wanted = frozenset(retry)
    states = {state.value for state in State if not state.is_final}
    kinds = {row.failure_kind for row in rows if row.failure_kind}
    for name in wanted:
        if name not in states | kinds:
            raise UnknownNameError("state or failure kind", name, states | kinds, where="--retry")
    return wanted


def _status(earlier: Row | None, wanted: frozenset[str]) -> Status:
    if earlier is None:
        return Status.TO_DO
    if earlier.state.is_final:
        return Status.DONE
    again = earlier.state is not State.FAILED or earlier.failure_kind in RETRIED_KINDS
    asked = earlier.state.value in wanted or earlier.failure_kind in wanted
    return Status.TO_DO if again or asked else Status.FAILED


def is_settled(row: Row) -> bool:
    """Returns whether a row is the last word on its cell, as long as nobody asks for another attempt."""
    return _status(row, frozenset()) is not Status.TO_DO


def history_key(item: SuiteCell) -> tuple[str, str, str, str]:
    """Returns what a cell has in common with earlier ones that took about as long and as much memory."""
    cell = item.cell
    return cell.scenario, cell.splitter.name, cell.model.name, cell.dataset.name


def _history(rows: Iterable[Row]) -> Mapping[tuple[str, str, str, str], float]:
    seconds: defaultdict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.state is State.OK:
            seconds[row.scenario, row.splitter, row.model, row.dataset].append(row.seconds)
    return {key: fmean(values) for key, values in seconds.items()}
