"""The cached split behind a row is found by what the row says, without its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cells import Cell
from benchmarks.pipeline.cached_splits import cached_splits
from benchmarks.rows.row import Row
from splitters.methods.protocol import CheckpointState

CELL = Cell.model_validate(
    {
        "scenario": "modularization",
        "splitter": {"name": "importance", "settings": {"retention": 0.5}, "version": 2},
        "model": {"name": "simcnn"},
        "dataset": {"name": "digits"},
        "seed": 3,
    }
)
KEY = {
    "splitter": {"name": "importance", "settings": {"retention": 0.5, "confidence": 0.9}, "version": 2},
    "base_model": "abc",
    "train": "images",
    "seed": 3,
    "threads": CELL.threads,
}


def row(base_model_hash: str | None) -> Row:
    return Row.model_construct(config=CELL.model_dump_json(), base_model_hash=base_model_hash)


def cache_with(folder: Path, *keys: Mapping[str, Any]) -> list[Path]:
    cache = ArtifactCache(folder)
    for key in keys:
        cache.get_or_make("splits", key, lambda checkpoint: CheckpointState({"bits": torch.ones(1)}, {}))
    return sorted((folder / "splits").glob("*.safetensors"))


def test_a_split_is_found_by_splitter_base_model_seed_and_threads(tmp_path: Path) -> None:
    (path,) = cache_with(tmp_path, KEY)
    assert list(cached_splits(tmp_path, row("abc"))) == [path]
    assert list(cached_splits(tmp_path, row(None))) == [path], "a cell of several base models names none"
    assert list(cached_splits(tmp_path / "none", row("abc"))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"base_model": "other"},
        {"seed": 4},
        {"threads": 99},
        {"splitter": {**KEY["splitter"], "name": "random"}},
        {"splitter": {**KEY["splitter"], "version": 1}},
        {"splitter": {**KEY["splitter"], "code": "edited"}},
        {"splitter": {**KEY["splitter"], "settings": {"retention": 0.4}}},
    ],
)
def test_the_split_of_another_cell_is_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    cache_with(tmp_path, {**KEY, **changes})
    assert list(cached_splits(tmp_path, row("abc"))) == []


def test_damaged_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    (path,) = cache_with(tmp_path, KEY)
    path.with_name("torn.safetensors").write_bytes(path.read_bytes()[:20])
    path.with_name("a.checkpoint.safetensors").write_bytes(b"")
    assert list(cached_splits(tmp_path, row("abc"))) == [path]
