"""Running a suite: plan, dispatch, store; what the command line and Python users share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.records import Row
from harness.claims import Patience, RunRegister
from harness.dispatch import Backend, Listener, SilentListener, StopSignal
from harness.dispatch.base import Claim
from harness.plan import Plan, is_settled
from harness.store import ResultStore, StoreContents
from harness.suite_cell import SuiteCell
from splitters.base import Progress


@dataclass(frozen=True)
class RunReport:
    """How a run ended.

    Args:
        plan: What was to be done.
        rows: The last row of each cell that was run now.
        contents: The whole store afterwards.
        interrupted: Whether it was stopped before its end.
    """

    plan: Plan
    rows: tuple[Row, ...]
    contents: StoreContents
    interrupted: bool

    def latest(self) -> list[Row]:
        """Returns the attempt that counts of each of the suite's cells."""
        ids = {planned.item.cell.cell_id for planned in self.plan.cells}
        return [row for row in self.contents.latest() if row.cell_id in ids]

    @property
    def all_well(self) -> bool:
        """Whether every cell of the suite has a final row."""
        final = {row.cell_id for row in self.latest() if row.state.is_final}
        return all(planned.item.cell.cell_id in final for planned in self.plan.cells)


def run_plan(
    plan: Plan,
    store: ResultStore,
    backend: Backend,
    *,
    listener: Listener | None = None,
    stop: StopSignal | None = None,
) -> RunReport:
    """Runs the cells that a plan has to do, and stores every row as it comes.

    Args:
        plan: What is done and what is to do; see ``make_plan``.
        store: Where rows go.
        backend: What runs the cells; it is entered only if there is something to do.
        listener: Told how the run goes on.
        stop: Ends the run when it is requested; SIGINT and SIGTERM request it too.

    Raises:
        ConfigurationError: If a cell asks for more than the backend has, or the store cannot be written to; nothing
            was run.
        OSError: If a row could be stored nowhere.
    """
    listener = listener or SilentListener()
    stop = stop or StopSignal()
    queue = plan.queue()
    last: dict[str, Row] = {}
    if queue:
        store.prepare()
        with backend:
            backend.check(queue)
            # Signals inside the backend, for Ray puts a handler of its own on SIGTERM.
            with stop, RunRegister(store.storage, backend.suite, cells=len(plan.cells), to_do=len(queue)) as register:
                told = Told(listener, register)
                claims = _PlannedClaims(plan, store, register)
                for item, row in backend.run(queue, stop=stop, listener=told, claims=claims):
                    store.write(row)
                    register.release(row.cell_id)
                    last[row.cell_id] = row
                    told.finished(item, row)
                register.note_end("interrupted" if stop.requested else "done")
    contents = store.read(share=bool(last), quarantine=True)
    return RunReport(plan, tuple(last.values()), contents, interrupted=stop.requested)


class Told:
    """Passes what happens on to a listener, and to the run's record.

    Args:
        listener: The listener.
        register: The run's record.
    """

    def __init__(self, listener: Listener, register: RunRegister) -> None:
        self._listener = listener
        self._register = register

    def started(self, item: SuiteCell) -> None:
        """A cell begins."""
        self._register.started(item)
        self._listener.started(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """A cell goes on."""
        self._register.progressed(item, progress)
        self._listener.progressed(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """An attempt is over, and its row is stored."""
        self._register.finished(row)
        self._listener.finished(item, row)


class _PlannedClaims:
    """Claims a plan's cells, and finds those that another run has finished since the plan was made.

    Args:
        plan: The plan.
        store: Where rows are.
        register: This run's record.
    """

    def __init__(self, plan: Plan, store: ResultStore, register: RunRegister) -> None:
        self._store = store
        self._register = register
        self._patience = Patience()
        self._earlier = {
            planned.item.cell.cell_id: planned.earlier.attempt_id if planned.earlier else None for planned in plan.cells
        }
        self._settled = self._settled_among([item.cell.cell_id for item in plan.queue()])

    def take(self, cells: Sequence[SuiteCell]) -> Sequence[Claim]:
        """Claims cells; see ``harness.dispatch.base.Claims``."""
        ids = [item.cell.cell_id for item in cells]
        claims = self._register.take([cell_id for cell_id in ids if cell_id not in self._settled])
        ours = [cell_id for cell_id, claim in claims.items() if claim is Claim.OURS]
        if ours and self._register.met_others:
            settled = self._patience.read(lambda: self._settled_among(ours))
            if settled is None:
                # Nobody can tell what others have done; later, perhaps.
                claims = {**claims, **dict.fromkeys(ours, Claim.THEIRS)}
            self._settled |= settled or set()
            self._release(ours if settled is None else settled)
        return [Claim.SETTLED if cell_id in self._settled else claims[cell_id] for cell_id in ids]

    def _release(self, cell_ids: Iterable[str]) -> None:
        for cell_id in cell_ids:
            self._register.release(cell_id)

    def _settled_among(self, cell_ids: Sequence[str]) -> set[str]:
        rows = self._store.read_cells(cell_ids).latest()
        return {row.cell_id for row in rows if is_settled(row) and row.attempt_id != self._earlier.get(row.cell_id)}
