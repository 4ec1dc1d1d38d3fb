"""Every scenario on a pretended GPU: training, splitting, reuse and costs keep their tensors on one device."""

from pathlib import Path
from typing import Any

import pytest
from pretended_gpu import PEAK_MEMORY_BYTES, pretended_gpu
from reuse_cells import reuse_cell

from benchmarks.pipeline.workspace import Workspace
from benchmarks.scenarios.scenario import make_scenario

_OTHER = {"name": "digits", "classes": ["5", "6"], "train_images": 60, "select_images": 30}
_SCENARIOS: list[tuple[str, dict[str, Any]]] = [
    ("modularization", {}),
    ("selection", {}),
    ("sub_task", {"sizes": [2], "tasks": 1}),
    ("patching", {"weak_kind": "over_simple", "targets": ["1"], "fusion": ["min_max", "gate", "temperature"]}),
    ("patching", {"weak_kind": "under_fitted", "targets": ["1"], "fusion": ["platt", "logistic"]}),
    ("accuracy_composition", {"base_models": 2, "min_images": 8, "networks": []}),
    ("new_task", {"other_dataset": _OTHER, "tasks": 1, "images_per_class": [4], "min_steps": 3}),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("scenario", "settings"), _SCENARIOS)
def test_a_scenario_runs_on_a_gpu(scenario: str, settings: dict[str, Any], cache: Path) -> None:
    cell = reuse_cell(scenario, classes=("0", "1", "3"), **settings)
    with pretended_gpu() as device:
        workspace = Workspace(cache=cache, device=str(device))
        metrics = make_scenario(scenario, cell.scenario_settings).measure(cell, workspace)
    on_gpu = [stage for stage in metrics.stages if stage.name != "data"]
    assert {stage.peak_memory_bytes for stage in on_gpu} == {PEAK_MEMORY_BYTES}
