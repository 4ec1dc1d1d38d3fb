"""Running a suite: plan, dispatch, store; what the command line and Python users share."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.records import Row
from harness.dispatch import Backend, Listener, SilentListener, StopSignal
from harness.plan import Plan
from harness.store import ResultStore, StoreContents


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
    """
    listener = listener or SilentListener()
    stop = stop or StopSignal()
    queue = plan.queue()
    last: dict[str, Row] = {}
    if queue:
        store.prepare()
        with backend:
            backend.check(queue)
            # Inside the backend, for Ray puts a handler of its own on SIGTERM.
            with stop:
                for item, row in backend.run(queue, stop=stop, listener=listener):
                    store.write(row)
                    last[row.cell_id] = row
                    listener.finished(item, row)
    return RunReport(plan, tuple(last.values()), store.read(), interrupted=stop.requested)
