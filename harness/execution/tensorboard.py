"""A listener that writes a run for TensorBoard."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.rows.row import Row
from harness.suite_cell import ID_LENGTH, SuiteCell
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_RESULTS = ("accuracy_loss", "kernel_retention", "seconds")


class TensorBoardListener:
    """Writes the metrics that cells report, by stage, and what their rows measured; a folder per attempt.

    A context: leaving it closes the files of cells that never ended.

    Args:
        folder: TensorBoard's ``--logdir``.

    Raises:
        ConfigurationError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigurationError(
                "TensorBoard's files need tensorboard, not installed here: pip install 'splitbench[tensorboard]'."
            )
        self._folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def __enter__(self) -> TensorBoardListener:
        """Return the listener."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all files."""
        while self._writers:
            self._writers.popitem()[1].close()

    def started(self, item: SuiteCell) -> None:
        """Open a file in the cell's folder."""
        from torch.utils.tensorboard import SummaryWriter

        self._close(item.cell.cell_id)
        name = re.sub(r"[^\w.-]+", "_", item.title)
        folder = self._folder / f"{name}_{item.cell.cell_id[:ID_LENGTH]}"
        self._writers[item.cell.cell_id] = SummaryWriter(str(folder))

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        """Write the report's metrics."""
        writer = self._writers.get(item.cell.cell_id)
        if writer is not None:
            for name, value in progress.metrics.items():
                writer.add_scalar(f"{progress.stage}/{name}", value, progress.step)

    def finished(self, item: SuiteCell, row: Row) -> None:
        """Write what the row measured, or why it did not, and close the file."""
        writer = self._writers.get(row.cell_id)
        if writer is None:
            return
        for name in _RESULTS:
            if (value := getattr(row, name)) is not None:
                writer.add_scalar(f"result/{name}", value)
        writer.add_text("state", f"{row.state.value}: {row.reason}" if row.reason else row.state.value)
        self._close(row.cell_id)

    def _close(self, cell_id: str) -> None:
        writer = self._writers.pop(cell_id, None)
        if writer is not None:
            writer.close()
