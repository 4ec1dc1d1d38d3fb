"""A listener that writes what cells report to an experiment tracker."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from benchmarks.rows.row import Row, State
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

RESULTS = ("accuracy_loss", "kernel_retention", "seconds")
"""Columns of a row that are written when its cell ends."""


class CellLog(Protocol):
    """What a tracker keeps of one cell."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Write numbers of one step."""

    def close(self, state: State, reason: str | None) -> None:
        """Write how the cell ended, and end the log."""


class Tracker:
    """Writes the metrics that cells report, named by stage (``search/accuracy``), and what their rows measured.

    A subclass says where: ``open_log`` begins the log of a cell. A context: leaving it ends the logs of cells that have
    not ended. A cell that is started again before it has a row, as a trial is whose base model was trained first, goes
    on in its log.

    Args:
        package: The package that the tracker needs.
        title: The tracker's name, for messages.

    Raises:
        ConfigurationError: If the package is not installed.
    """

    def __init__(self, package: str, title: str) -> None:
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(f"{title} needs {package}, not installed here: pip install {package}")
        self._logs: dict[str, CellLog] = {}

    @abstractmethod
    def open_log(self, item: SuiteCell) -> CellLog:
        """Begin the log of a cell."""

    def __enter__(self) -> Self:
        """Return the tracker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all logs."""
        while self._logs:
            self._logs.popitem()[1].close(State.INTERRUPTED, None)

    def started(self, item: SuiteCell) -> None:
        """Begin the cell's log."""
        if item.cell.cell_id not in self._logs:
            self._logs[item.cell.cell_id] = self.open_log(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Write the report's metrics, if it has any."""
        log = self._logs.get(item.cell.cell_id)
        if log is not None and progress.metrics:
            log.log({f"{progress.stage}/{name}": value for name, value in progress.metrics.items()}, progress.step)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Write what the row measured, or why it did not, and end the log."""
        log = self._logs.pop(row.cell_id, None)
        if log is None:
            return
        measured = {name: getattr(row, name) for name in RESULTS}
        log.log({f"result/{name}": value for name, value in measured.items() if value is not None}, 0)
        log.close(row.state, row.reason)
