from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bowl_plugin  # noqa: F401  (registers the bowl)
import pytest
import yaml

from harness.attempt import Surroundings
from harness.plugins import Plugins
from harness.sweep.file import Sweep
from harness.sweep.loading import load_sweep

HERE = Path(__file__).parent

SPACE = {"x": {"float": [0, 1]}, "y": {"float": [0, 0.5]}}


def sweep_values(**keys: Any) -> dict[str, Any]:
    """Returns a sweep as a file holds it; keys replace the usual ones."""
    return {
        "name": "bowls",
        "plugins": ["bowl_plugin"],
        "scenario": "bowl",
        "device": "cpu",
        "seeds": 2,
        "models": ["simcnn"],
        "datasets": ["digits"],
        "splitters": [{"name": "bowl", "space": SPACE}],
        "objectives": {"accuracy_loss": "min", "kernel_retention": "min"},
        "sampler": "random",
        "trials": 4,
        **keys,
    }


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep of bowls to a file; keys replace the usual ones, None leaves one out."""

    def write(**keys: Any) -> Path:
        (tmp_path / "bowl_plugin.py").write_text((HERE / "bowl_plugin.py").read_text())
        values = {key: value for key, value in sweep_values(**keys).items() if value is not None}
        path = tmp_path / "bowls.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_bowls(write_sweep: Callable[..., Path]) -> Callable[..., Sweep]:
    """Makes a sweep of bowls by way of a file."""
    return lambda **keys: load_sweep(write_sweep(**keys))


@pytest.fixture
def bowl_surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings("bowls", tmp_path / "cache", plugins=Plugins(("bowl_plugin",), str(HERE)))


@pytest.fixture
def sweep_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a real ``splitbench`` process that finds the bowls."""
    return {**environment, "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(HERE)])}


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A folder in which runs leave marks."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder
