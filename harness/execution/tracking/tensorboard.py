"""TensorBoard: a folder of event files per cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rows.row import State
from harness.execution.tracking.tracker import CellLog, Tracker
from harness.suite_cell import ID_LENGTH, SuiteCell

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker(Tracker):
    """Writes event files, in a folder per cell.

    Args:
        folder: TensorBoard's ``--logdir``.

    Raises:
        ConfigurationError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("tensorboard", "TensorBoard")
        self._folder = folder

    def open_log(self, item: SuiteCell) -> CellLog:
        """Open a file in the cell's folder."""
        from torch.utils.tensorboard import SummaryWriter

        name = re.sub(r"[^\w.-]+", "_", item.title)
        return _EventFile(SummaryWriter(str(self._folder / f"{name}_{item.cell.cell_id[:ID_LENGTH]}")))


class _EventFile:
    """The log of a cell."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self, state: State, reason: str | None) -> None:
        self._writer.add_text("state", f"{state.value}: {reason}" if reason else state.value)
        self._writer.close()
