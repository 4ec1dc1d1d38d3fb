"""The time that the rest of a run takes, estimated from cells that have ended."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from statistics import fmean

from benchmarks.rows.row import Row
from harness.faults import INFRASTRUCTURE_FAULTS
from harness.suite_cell import CellKind, SuiteCell


class TimeLeft:
    """Estimates the time that the rest of a run takes.

    A cell is expected to take as long as the run's own cells of its kind, or else as long as earlier ones, or else the
    mean of all cells that have ended. As many cells are expected to run at once as have done so.

    Args:
        queue: The cells to run, where they are known.
        n_cells: The number of cells to run; by default, that of ``queue``.
        history: Seconds that cells took earlier, by kind.
        clock: Returns seconds.
    """

    def __init__(
        self,
        queue: Iterable[SuiteCell] = (),
        *,
        n_cells: int | None = None,
        history: Mapping[CellKind, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = {item.cell.cell_id: item.kind for item in queue}
        self._n_unknown = 0 if n_cells is None else max(0, n_cells - len(self._waiting))
        self._history = dict(history or {})
        self._clock = clock
        self._running: dict[str, tuple[CellKind, float]] = {}
        self._taken: defaultdict[CellKind, list[float]] = defaultdict(list)
        self._at_once = 1

    def started(self, item: SuiteCell) -> None:
        """Record that a cell has started."""
        if self._waiting.pop(item.cell.cell_id, None) is None and self._n_unknown:
            self._n_unknown -= 1
        self._running[item.cell.cell_id] = item.kind, self._clock()
        self._at_once = max(self._at_once, len(self._running))

    def finished(self, row: Row) -> None:
        """Record that an attempt has ended."""
        self._running.pop(row.cell_id, None)
        if row.failure_kind not in INFRASTRUCTURE_FAULTS:
            self._taken[row.scenario, row.splitter, row.model, row.dataset].append(row.seconds)

    def leave(self, cell_ids: Collection[str]) -> None:
        """Record that cells are left to another run."""
        for cell_id in cell_ids:
            self._waiting.pop(cell_id, None)

    def seconds(self) -> float | None:
        """Return the estimate; None if nothing is known of how long cells take, or all have taken longer."""
        if not (self._running or self._waiting or self._n_unknown):
            return 0.0
        known = [fmean(taken) for taken in self._taken.values()] or list(self._history.values())
        if not known:
            return None
        usual, now = fmean(known), self._clock()
        rest = [max(0.0, self._expected(kind, usual) - (now - since)) for kind, since in self._running.values()]
        waiting = sum(self._expected(kind, usual) for kind in self._waiting.values()) + self._n_unknown * usual
        return max([(sum(rest) + waiting) / self._at_once, *rest]) or None

    def _expected(self, kind: CellKind, usual: float) -> float:
        taken = self._taken.get(kind)
        return fmean(taken) if taken else self._history.get(kind, usual)
