"""Runs in this process, and listeners that record them or fail."""

from __future__ import annotations

from pathlib import Path

from benchmarks.rows.row import Row
from harness.execution import Limits, SilentListener, StopSignal
from harness.execution.attempt import Surroundings
from harness.execution.inline import InlineBackend
from harness.execution.run_plan import RunReport, run_plan
from harness.planning.plan import make_plan
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress


class Recorder(SilentListener):
    """Notes what happens, and may ask for the end once a cell has reported so often."""

    def __init__(self, *, stop: StopSignal | None = None, after: int = 0) -> None:
        self.events: list[str] = []
        self._stop = stop
        self._after = after

    def started(self, item: SuiteCell) -> None:
        self.events.append(f"started {item.cell.seed}")

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        self.events.append(f"progressed {item.cell.seed}")
        if self._stop is not None and len(self.events) >= self._after:
            self._stop.request()

    def finished(self, item: SuiteCell, row: Row) -> None:
        self.events.append(f"finished {item.cell.seed} {row.state.value}")


def run(
    items: list[SuiteCell], surroundings: Surroundings, folder: Path, *, timeout: float | None = None,
    listener: SilentListener | None = None, stop: StopSignal | None = None,
) -> RunReport:  # fmt: skip
    store = ResultStore(folder / "results")
    plan = make_plan(items, store.read().latest())
    backend = InlineBackend(surroundings, Limits(timeout=timeout))
    return run_plan(plan, store, backend, listener=listener, stop=stop)


class FaultyListener(Recorder):
    """Raises whatever happens."""

    def started(self, item: SuiteCell) -> None:
        super().started(item)
        raise ValueError("[/data/w.pt]")

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        raise KeyError(progress.stage)

    def finished(self, item: SuiteCell, row: Row) -> None:
        super().finished(item, row)
        raise LookupError
