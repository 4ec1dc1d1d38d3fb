"""The tables of docs/results.md are those that their commands make from the rows kept beside it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from harness import read_rows

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def dead_modules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dead_modules", DOCS / "results" / "dead_modules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_dead_modules_is_made_from_the_kept_rows(dead_modules: ModuleType) -> None:
    rows = pq.read_table(DOCS / "results" / "dead-modules.parquet").to_pylist()
    assert dead_modules.table(rows) in (DOCS / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["real-images", "cifar-cpu", "many-classes"])
def test_the_tables_of_the_first_rows_hold_each_splitters_figures(folder: str) -> None:
    rows = read_rows(DOCS / "results" / folder).to_pylist()
    lines = (DOCS / "results.md").read_text(encoding="utf-8").splitlines()
    for row in rows:
        if row["splitter"] != "full":
            loss, kernels = 100 * row["accuracy_loss"], 100 * row["kernel_retention"]
            figures = f"| {row['score']} | {loss:.2f} | {kernels:.1f} | {100 * row['flops_retention_sum']:.0f} |"
            assert any(line.endswith(figures) for line in lines), (row["model"], row["splitter"], figures)


def test_a_module_is_lost_below_half_of_the_others_median(dead_modules: ModuleType) -> None:
    assert dead_modules.lost_modules([0.9, 0.8, 0.44, 1.0]) == 1  # the others' median is 0.9
    assert dead_modules.lost_modules([0.9, 0.8, 0.46, 1.0]) == 0
    assert dead_modules.lost_modules([0.0, 0.0, 1.0, 1.0, 1.0]) == 2
