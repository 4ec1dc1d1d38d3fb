"""Cells in this process, on a GPU."""

from pathlib import Path

import pytest

from benchmarks.rows.row import State
from harness.config.expand import expand
from harness.config.suite import load_suite
from harness.execution import Limits
from harness.execution.attempt import Surroundings
from harness.execution.inline import InlineBackend
from harness.execution.run_plan import run_plan
from harness.planning.plan import make_plan
from harness.store import ResultStore

_CHANGES = (
    "device=cuda", "seeds=[10]", "scenario=modularization", "training.epochs=3", "splitters.gradsplitter.rounds=2",
)  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_cells_of_quick_run_on_a_gpu(precision: str, tmp_path: Path) -> None:
    suite = load_suite("quick", changes=[*_CHANGES, f"precision={precision}"])
    items = [
        item
        for item in expand(suite)
        if (item.cell.model.name, item.cell.splitter.name) in {("simcnn", "full"), ("simcnn", "gradsplitter")}
    ]
    store = ResultStore(tmp_path / "results")
    backend = InlineBackend(Surroundings(suite.name, tmp_path / "cache"), Limits())
    report = run_plan(make_plan(items, store.read().latest()), store, backend)
    assert [(row.state, row.reason) for row in report.rows] == [(State.OK, None)] * 2
    full, split = sorted(report.rows, key=lambda row: row.splitter)
    assert full.accuracy_loss == pytest.approx(0, abs=1e-6)
    assert full.base_accuracy == split.base_accuracy > 0.8
    assert 0.1 < split.kernel_retention < 1
    assert all(row.cuda_version and row.gpu_share == 1 for row in report.rows)
    assert all(stage.peak_memory_bytes for row in report.rows for stage in row.stages if stage.name != "data")
