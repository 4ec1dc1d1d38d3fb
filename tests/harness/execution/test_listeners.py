"""Listeners of a run: several as one, and TensorBoard's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from conftest import toy_item, toy_row

from benchmarks.rows.row import Row
from harness.execution.observers import Listeners
from harness.execution.tensorboard import TensorBoardListener
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

ITEM, ROW = toy_item(seed=0), toy_row(seed=0)
HALF = Progress("search", 1, 2, {"accuracy": 0.75})


class Recording:
    """A listener that keeps what it is notified of, and may raise."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[object] = []
        self.error = error

    def _keep(self, *event: object) -> None:
        self.events.append(event)
        if self.error is not None:
            raise self.error

    def started(self, item: SuiteCell) -> None:
        self._keep(item)

    def progressed(self, item: SuiteCell, progress: Progress) -> None:
        self._keep(item, progress)

    def finished(self, item: SuiteCell, row: Row) -> None:
        self._keep(item, row)


def test_every_listener_is_notified_of_everything_though_one_raises() -> None:
    first, second = Recording(ValueError("first")), Recording()
    both = Listeners(first, second)
    for notify in (lambda: both.started(ITEM), lambda: both.progressed(ITEM, HALF), lambda: both.finished(ITEM, ROW)):
        with pytest.raises(ValueError, match="first"):
            notify()
    assert first.events == second.events == [(ITEM,), (ITEM, HALF), (ITEM, ROW)]


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"splitbench\[tensorboard\]"):
        TensorBoardListener(tmp_path)


def test_tensorboard_reads_metrics_by_stage_and_results(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed; the extra 'tensorboard' has it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TensorBoardListener(tmp_path) as listener:
        listener.started(ITEM)
        listener.progressed(ITEM, HALF)
        listener.finished(ITEM, ROW)
    (folder,) = tmp_path.iterdir()
    assert ITEM.cell.cell_id[:10] in folder.name
    events = EventAccumulator(str(folder))
    events.Reload()
    (point,) = events.Scalars("search/accuracy")
    assert (point.step, point.value) == (1, 0.75)
    assert events.Scalars("result/seconds")[0].value == pytest.approx(ROW.seconds)
