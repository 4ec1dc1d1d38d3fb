"""Small cells of all scenarios, and a test set of noise for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.data.datasets import Dataset
from benchmarks.pipeline import preparation
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from benchmarks.scenarios.scenario import make_scenario


def reuse_cell(scenario: str, *, splitter: str = "importance", classes: tuple[str, ...] = (), **settings: Any) -> Cell:
    own = {"retention": 0.9, "score": "logit"} if splitter == "importance" else {}
    return Cell(
        scenario=scenario,
        scenario_settings=settings,
        splitter=SplitterSpec(name=splitter, settings=own),
        model=ModelSpec(name="rescnn", settings={"width": 0.05}),
        dataset=DatasetSpec(name="digits", classes=classes, train_images=300, select_images=100),
        training=TrainingSpec(recipe="one_cycle", epochs=2, learning_rate=0.05, batch_size=32, crop_padding=0),
    )


def measure(cell: Cell, cache: Path, data_root: Path | None = None) -> Metrics:
    workspace = Workspace(cache=cache, data_root=data_root)
    return make_scenario(cell.scenario, cell.scenario_settings).measure(cell, workspace)


def poison_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the images and labels of every test set that is loaded from now on by noise, but not its hash."""
    load = preparation.load_dataset

    def poisoned(*args: object, **kwargs: object) -> Dataset:
        dataset = load(*args, **kwargs)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, dataset.test.images.shape, generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, dataset.test.n_classes, dataset.test.labels.shape, generator=generator)
        return dataclasses.replace(dataset, test=dataclasses.replace(dataset.test, images=noise, labels=labels))

    monkeypatch.setattr(preparation, "load_dataset", poisoned)


COSTS = {
    "flops_sum", "parameters_sum", "parameters_union", "base_flops", "base_parameters",
    "flops_retention_sum", "param_retention_sum", "param_retention_union",
}  # fmt: skip
"""The fields of a cost that do not depend on time."""


def check_costs(record: Any, n_modules: int = 0) -> None:
    """Check that the figures of a cost are consistent; ``n_modules``: if all come from the reference network."""
    assert record.flops_sum > 0
    assert 0 < record.parameters_union <= record.parameters_sum
    if n_modules:
        assert record.flops_sum <= n_modules * record.base_flops * 1.01, "no module is larger than the network"
    assert record.flops_retention_sum == pytest.approx(record.flops_sum / record.base_flops)
    assert record.param_retention_union == pytest.approx(record.parameters_union / record.base_parameters)
    assert record.latency_ratio == pytest.approx(record.latency_seconds / record.base_latency_seconds)
    assert record.base_latency_seconds > 0
