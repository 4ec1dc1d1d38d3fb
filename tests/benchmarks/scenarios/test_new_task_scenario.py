"""The scenario ``new_task``: its tasks, its baselines, its independence of test, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from reuse_cells import COSTS, check_costs, measure, poison_the_test_set, reuse_cell

from benchmarks.cells import Cell
from benchmarks.rows.row import Metrics

OTHER = {"name": "digits", "classes": ["5", "6", "7"], "train_images": 200, "select_images": 80}
SETTINGS: dict[str, Any] = {
    "other_dataset": OTHER, "tasks": 2, "images_per_class": [4, None], "min_steps": 12,
}  # fmt: skip


def new_task(**changes: Any) -> Cell:
    return reuse_cell("new_task", classes=("0", "1", "3"), **{**SETTINGS, **changes})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Metrics:
    return measure(new_task(), cache)


def test_a_task_has_classes_of_both_data_sets_and_a_record_per_number_of_images(measured: Metrics) -> None:
    assert [record.images_per_class for record in measured.new_tasks] == [4, None, 4, None]
    for record in measured.new_tasks:
        first, second = record.classes
        assert first in ("0", "1", "3")
        assert second in OTHER["classes"]
        check_costs(record, 2)
    assert [stage.name for stage in measured.stages] == ["data", "train", "split", "tasks"]


def test_the_composed_model_needs_no_images_and_the_baselines_use_those_they_are_given(measured: Metrics) -> None:
    few, everything = measured.new_tasks[:2]
    assert few.composed_images == everything.composed_images == 0
    assert few.scratch_images == few.last_layer_images == 8
    assert everything.scratch_images == everything.last_layer_images > 100
    assert few.composed_accuracy == everything.composed_accuracy
    for record in measured.new_tasks:
        assert record.gain_over_scratch == pytest.approx(record.composed_accuracy - record.scratch_accuracy)
        assert record.gain_over_last_layer == pytest.approx(record.composed_accuracy - record.last_layer_accuracy)
        assert record.composed_seconds > 0
        assert record.scratch_seconds > 0


def test_a_last_layer_learns_the_task(measured: Metrics) -> None:
    assert min(record.last_layer_accuracy for record in measured.new_tasks if not record.images_per_class) > 0.8


def test_all_pairs_are_measured_without_a_number_of_tasks(cache: Path) -> None:
    quick = {"images_per_class": [1], "min_steps": 1, "scratch_training": {"epochs": 1}}
    metrics = measure(new_task(tasks=None, other_dataset={**OTHER, "classes": ["5", "7"]}, **quick), cache)
    pairs = [tuple(record.classes) for record in metrics.new_tasks]
    assert pairs == [(one, other) for one in ("0", "1", "3") for other in ("5", "7")]


def test_classes_of_both_data_sets_with_one_name_are_distinguished(cache: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for part, n in (("train", 12), ("test", 4)):
        for name in ("1", "x"):
            folder = tmp_path / "noise" / part / name
            folder.mkdir(parents=True)
            for index in range(n):
                pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    quick = {"images_per_class": [2], "min_steps": 1, "scratch_training": {"epochs": 1}}
    metrics = measure(new_task(tasks=None, other_dataset={"name": "folder:noise"}, **quick), cache, tmp_path)
    assert [record.classes for record in metrics.new_tasks][2:4] == [["digits/1", "folder:noise/1"], ["digits/1", "x"]]


def test_a_poisoned_test_set_changes_no_choice(
    measured: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_test_set(monkeypatch)
    noisy = measure(new_task(), tmp_path)
    assert noisy.base_model_hash == measured.base_model_hash
    kept = {
        *COSTS, "classes", "images_per_class", "select_composed_accuracy", "select_scratch_accuracy",
        "select_last_layer_accuracy", "scratch_images",
    }  # fmt: skip
    for one, other in zip(noisy.new_tasks, measured.new_tasks, strict=True):
        assert one.model_dump(include=kept) == other.model_dump(include=kept)
    accuracies = ([record.scratch_accuracy for record in metrics.new_tasks] for metrics in (noisy, measured))
    assert len({tuple(values) for values in accuracies}) == 2
