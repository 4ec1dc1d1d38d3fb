"""Run a plan: dispatch its cells and store their rows; what the command line and Python users share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row, State
from harness.execution import Backend, Listener, SilentListener, StopSignal
from harness.execution.observers import ObserverGuard
from harness.planning.plan import PLAN_COLUMNS, Plan, settled_attempts
from harness.runs.declaration import RunDeclaration
from harness.runs.record import RunRecord
from harness.store import LATEST_COLUMNS, ResultStore, StoreContents
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress


@dataclass(frozen=True)
class RunReport:
    """How a run ended.

    Args:
        plan: What was to be done.
        rows: The last row of each cell that was run now.
        contents: The whole store afterwards.
        interrupted: Whether it was stopped before its end.
        left_to_others: The cells that other runs had declared before and have not finished, each with its run.
        listener_error: The first error that the listener raised, in one line; it changed nothing else.
    """

    plan: Plan
    rows: tuple[Row, ...]
    contents: StoreContents
    interrupted: bool
    left_to_others: Mapping[str, RunRecord] = field(default_factory=dict)
    listener_error: str | None = None

    def latest(self) -> Rows:
        """Return the attempt that counts of each of the suite's cells."""
        ids = {planned.item.cell.cell_id for planned in self.plan.cells}
        rows = self.contents.latest()
        return rows.filter(np.array([cell_id in ids for cell_id in rows.values("cell_id")], np.bool_))

    @property
    def all_well(self) -> bool:
        """Whether every cell has a final row or was left to another run, and no attempt of this run failed.

        A cell whose images have changed has a final row of the earlier ones, which does not count.
        """
        rows = self.latest()
        states = zip(rows.values("cell_id"), rows.values("state"), strict=True)
        final = {cell_id for cell_id, state in states if State(state).is_final} | self.left_to_others.keys()
        final -= {row.cell_id for row in self.rows if not row.state.is_final}
        return all(planned.item.cell.cell_id in final for planned in self.plan.cells)


def run_plan(
    plan: Plan,
    store: ResultStore,
    backend: Backend,
    *,
    listener: Listener | None = None,
    stop: StopSignal | None = None,
    on_left: Callable[[Mapping[str, RunRecord]], object] | None = None,
) -> RunReport:
    """Run the cells that a plan has to do, and store every row at once.

    Args:
        plan: What is done and what is to do; see ``make_plan``.
        store: Where rows go.
        backend: What runs the cells; it is entered only if there is something to do.
        listener: Notified of progress; the report holds its first error.
        stop: Ends the run when it is requested; SIGINT and SIGTERM request it too.
        on_left: Called before the first cell starts, with the cells that are left to other runs, each with its run; not
            called if there are none.

    Raises:
        ConfigurationError: If a cell requests more than the backend has, or the store cannot be written to; nothing
            was run.
        OSError: If a row could be stored nowhere.
    """
    listener = listener or SilentListener()
    stop = stop or StopSignal()
    queue = plan.queue()
    guard = ObserverGuard()
    last: dict[str, Row] = {}
    left: Mapping[str, RunRecord] = {}
    if queue:
        store.prepare()
        with backend:
            backend.check(queue)
            ids = [item.cell.cell_id for item in queue]
            declaration = RunDeclaration(
                store.storage, backend.suite, cell_ids=ids, n_cells=len(plan.cells), time_left=plan.time_left()
            )
            # Inside the backend, since Ray installs a SIGTERM handler of its own.
            with stop, declaration as declared:
                left = declared.left_to_others
                if left and on_left is not None:
                    guard(on_left, left)
                done = left.keys() | _settled_since(plan, store, [cell_id for cell_id in ids if cell_id not in left])
                relay = _Relay(listener, declared, guard)
                ours = [item for item in queue if item.cell.cell_id not in done]
                for item, row in backend.run(ours, stop=stop, listener=relay):
                    store.write(row)
                    last[row.cell_id] = row
                    relay.finished(item, row)
                declared.note_end("interrupted" if stop.requested else "done")
    contents = store.read(columns=LATEST_COLUMNS, share=bool(last), quarantine=True)
    settled = settled_attempts(contents.latest())
    left = {cell_id: record for cell_id, record in left.items() if cell_id not in settled}
    return RunReport(plan, tuple(last.values()), contents, stop.requested, left, guard.message)


def _settled_since(plan: Plan, store: ResultStore, cell_ids: Sequence[str]) -> set[str]:
    """Return the cells that another run has finished since the plan was made."""
    earlier = {planned.item.cell.cell_id: planned.earlier for planned in plan.cells}
    settled = settled_attempts(store.read_cells(cell_ids, columns=PLAN_COLUMNS).latest())
    return {
        cell_id
        for cell_id, attempt_id in settled.items()
        if attempt_id != getattr(earlier[cell_id], "attempt_id", None)
    }


class _Relay:
    """Passes events on to a listener and to the run's record."""

    def __init__(self, listener: Listener, declared: RunDeclaration, guard: ObserverGuard) -> None:
        self._listener = listener
        self._declared = declared
        self._guard = guard

    def started(self, item: SuiteCell) -> None:
        self._declared.started(item)
        self._guard(self._listener.started, item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        self._declared.progressed(item, progress)
        self._guard(self._listener.progressed, item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        self._declared.finished(row)
        self._guard(self._listener.finished, item, row)
