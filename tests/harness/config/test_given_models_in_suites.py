"""Given models as a suite names them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import Result

from benchmarks.cells import Cell, ModelSpec
from benchmarks.rows.row import Row
from harness.config.expand import expand, forced
from harness.config.suite import load_suite
from harness.store import ResultStore
from splitters.errors import ConfigurationError

Call = Callable[..., Result]

NET = """
from torch import nn

def net(n_classes):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, n_classes))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A suite's folder, with a network's code and its untrained weights beside the suite."""
    at = tmp_path / "mine"
    at.mkdir()
    (at / "suite_nets.py").write_text(NET)
    namespace: dict[str, Any] = {}
    exec(NET, namespace)
    torch.manual_seed(0)
    torch.save({"state_dict": namespace["net"](10).state_dict()}, at / "net.pth")
    path = list(sys.path)
    yield at
    sys.path[:] = path
    sys.modules.pop("suite_nets", None)


def write(folder: Path, **model: Any) -> Path:
    usual = {"name": "python:suite_nets:net", "weights": "net.pth", "normalisation": "none", "input_shape": [1, 8, 8]}
    entry = {**usual, **model}
    suite = {
        "name": "mine",
        "seeds": 2,
        "models": [{key: value for key, value in entry.items() if value is not None}, "simcnn"],
        "datasets": [{"name": "digits", "train_images": 100, "select_images": 60}],
        "splitters": ["random"],
        "training": {"epochs": 3},
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    return folder / "suite.yaml"


def given_cells(path: Path) -> list[Cell]:
    return [item.cell for item in expand(load_suite(path)) if item.cell.model.is_given]


def test_code_and_weights_are_found_beside_the_suite_and_seeds_vary_the_rest(folder: Path) -> None:
    first, second = given_cells(write(folder))
    assert (first.seed, second.seed) == (0, 1)
    assert first.model.weights == str(folder / "net.pth")
    assert first.dataset.input_shape == (1, 8, 8)
    others = [item.cell for item in expand(load_suite(folder / "suite.yaml")) if not item.cell.model.is_given]
    assert {cell.dataset.input_shape for cell in others} == {(3, 32, 32)}
    assert (first.training.epochs, others[0].training.epochs) == (200, 3), "nothing trains a given model"


def test_the_identity_is_that_of_the_weights_not_of_where_they_are(folder: Path) -> None:
    cell = given_cells(write(folder))[0]
    (folder / "net.pth").rename(folder / "moved.pth")
    assert given_cells(write(folder, weights="moved.pth"))[0].cell_id == cell.cell_id
    assert given_cells(write(folder, weights="moved.pth", force=True))[0].cell_id == cell.cell_id
    assert given_cells(write(folder, weights="moved.pth", normalisation="imagenet"))[0].cell_id != cell.cell_id
    state = torch.load(folder / "moved.pth", weights_only=True)["state_dict"]
    torch.save({**state, "0.bias": state["0.bias"] + 1}, folder / "moved.pth")
    assert given_cells(write(folder, weights="moved.pth"))[0].cell_id != cell.cell_id
    assert Cell.model_validate_json(cell.model_dump_json()).cell_id == cell.cell_id


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"weights": "none.pth"}, r"suite.yaml, line \d+: models: .*none.pth: there is no such file"),
        ({"normalisation": None}, r"model 'python:suite_nets:net': .*does not say how the images were normal"),
        ({"weights": None}, "'normalisation' describes given weights"),
        ({"weights": "DEFAULT"}, "has no published weights"),
        ({"normalisation": "imagnet"}, "normalisation: a normalisation is imagenet, none"),
        ({"wieghts": "x"}, "unknown key 'wieghts'. Did you mean 'weights'"),
        ({"name": "python:suite_nets:nett"}, "unknown factory in suite_nets 'nett'. Did you mean 'net'"),
        ({"class_map": "none.txt"}, "class_map: .*none.txt cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_given_model_is_said_before_anything_runs(
    folder: Path, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        expand(load_suite(write(folder, **model)))


def run_rows(call: Call, path: Path, *options: str) -> tuple[Result, list[Row]]:
    results = path.parent / "results"
    result = call("run", path, "--backend", "inline", "--only", "model=python:suite_nets:net", "--seeds", "1",
                  "--results", results, *options)  # fmt: skip
    return result, ResultStore(str(results)).read().latest()


def test_an_implausible_model_is_refused_and_force_goes_on(call: Call, folder: Path) -> None:
    result, (row,) = run_rows(call, write(folder))
    assert result.exit_code == 1
    assert (row.state.value, row.failure_kind) == ("failed", "ImplausibleModelError")
    assert "twice chance" in str(row.reason)
    result, (row,) = run_rows(call, write(folder), "--retry", "failed", "--force")
    assert result.exit_code == 0, result.output
    assert (row.base, row.base_source) == ("given", str(folder / "net.pth"))
    assert row.select_base_accuracy is not None
    assert row.select_base_accuracy < 0.2
    assert "which images it was trained on is not known" in row.warnings[0]
    assert "as 'force' says" in row.warnings[1]
    assert '"force":true' in row.config


def test_force_is_for_given_models_only(folder: Path) -> None:
    items = forced(expand(load_suite(write(folder))))
    assert {item.cell.model.force for item in items if item.cell.model.is_given} == {True}
    assert all("force" not in item.cell.model_dump_json() for item in items if not item.cell.model.is_given)


@pytest.mark.parametrize("scenario", ["new_task", "accuracy_composition"])
def test_scenarios_that_train_their_base_models_refuse_given_ones(folder: Path, scenario: str) -> None:
    path = write(folder)
    suite = yaml.safe_load(path.read_text())
    settings = {"other_dataset": {"name": "cifar10"}} if scenario == "new_task" else {}
    path.write_text(yaml.safe_dump({**suite, "scenario": {"name": scenario, "settings": settings}}))
    with pytest.raises(ConfigurationError, match=f"scenario '{scenario}' trains its base models itself"):
        expand(load_suite(path))


def test_a_model_without_weights_is_written_as_before() -> None:
    assert ModelSpec(name="simcnn").model_dump(mode="json") == {"name": "simcnn", "settings": {}, "code": ""}
