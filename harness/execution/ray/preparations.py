"""Which cells must wait: each base model and split is computed by one cell, and others that need it start later."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cells import Cell, SplitterSpec, content_hash
from benchmarks.pipeline.preparation import STAGES
from harness.suite_cell import SuiteCell
from splitters.methods.protocol import Progress


class Preparations:
    """Which base models are being trained, and by which cell.

    Cells that need the same one could start at once and wait for each other; but then they would hold GPUs without
    using them, or, on machines that share no folder, each train it.

    A cell whose splitter is like another one reads that one's split. It starts when the cell that computes the split
    has ended, if this run has one.

    Args:
        queue: The cells of the run.
    """

    def __init__(self, queue: Sequence[SuiteCell] = ()) -> None:
        readers = [item for item in queue if item.reads_another]
        self._read = {item.cell.cell_id: _split_read_by(item) for item in readers}
        self._unfinished_splits = {_split_of(item) for item in queue} if readers else set()
        self._trainers: dict[str, str] = {}
        self._prepared: set[str] = set()
        self._keys: dict[str, str] = {}

    def may_start(self, item: SuiteCell) -> bool:
        """Return whether no other cell is training the cell's base model."""
        return self.key(item) not in self._trainers

    def reads_unfinished(self, item: SuiteCell) -> bool:
        """Return whether a cell reads the split of another one of this run that has not ended."""
        return self._read.get(item.cell.cell_id) in self._unfinished_splits

    def is_prepared(self, item: SuiteCell) -> bool:
        """Return whether a cell's base model is known to be there."""
        return self.key(item) in self._prepared

    def start(self, item: SuiteCell) -> None:
        """Record that a cell starts: if its base model is not there, it trains it."""
        key = self.key(item)
        if key not in self._prepared:
            self._trainers.setdefault(key, item.cell.cell_id)

    def progress(self, item: SuiteCell, progress: Progress) -> None:
        """Record the progress of a cell: once it is past its preparation, its base model is there."""
        if progress.stage not in STAGES:
            self._prepared.add(self.key(item))
            self._trainers.pop(self.key(item), None)

    def end(self, item: SuiteCell) -> None:
        """Record that an attempt has ended; if it was to train a base model, another cell may."""
        key = self.key(item)
        if self._trainers.get(key) == item.cell.cell_id:
            del self._trainers[key]

    def finish(self, item: SuiteCell) -> None:
        """Record that a cell has ended for good: its split is there, or never will be."""
        if self._unfinished_splits:
            self._unfinished_splits.discard(_split_of(item))

    def key(self, item: SuiteCell) -> str:
        """Return what cells have in common that need the same base model."""
        cell = item.cell
        if cell.cell_id not in self._keys:
            self._keys[cell.cell_id] = base_model_key(cell)
        return self._keys[cell.cell_id]


def base_model_key(cell: Cell) -> str:
    """Return what cells have in common that share a base model."""
    return content_hash(cell.model_dump(mode="json", include=_OF_BASE_MODEL))


_OF_BASE_MODEL = {"model", "dataset", "training", "seed", "threads", "device", "precision", "compile"}
_OF_SPLIT = _OF_BASE_MODEL | {"splitter"}


def _split_of(item: SuiteCell) -> str:
    """Return what identifies a cell's split among those of the run."""
    return content_hash(item.cell.model_dump(mode="json", include=_OF_SPLIT))


def _split_read_by(item: SuiteCell) -> str:
    """Return what identifies the split that a cell reads."""
    spec = SplitterSpec.model_validate(item.cell.splitter.settings["like"])
    return _split_of(SuiteCell(item.cell.model_copy(update={"splitter": spec})))
