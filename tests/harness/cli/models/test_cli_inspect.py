from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

Call = Callable[..., Result]

NETS = """
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.c, self.head = nn.Conv2d(4, 8, 3, padding=1), nn.Linear(8, 2)

    def forward(self, x):
        x = self.a(x)
        x = torch.relu(x + self.b(x))
        return self.head(torch.softmax(self.c(x), 1).mean((2, 3)))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.head_fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.head_fc(self.again(self.again(self.head(x))).mean((2, 3)))


def frozen():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "inspected_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_layers_ties_and_what_frozen_kernels_cost(call: Call, nets: Path) -> None:
    result = call("inspect", "python:inspected_nets:Tied", "--input-shape", "3,8,8", "--classes", "2", "--json")
    assert result.exit_code == 0, result.stderr
    seen = json.loads(result.stdout)
    pixels = 8 * 8
    assert [(layer["name"], layer["kernels"], layer["droppable"], layer["flops"]) for layer in seen["layers"]] == [
        ("a", 4, 4, 2 * 3 * 4 * 9 * pixels),
        ("b", 4, 4, 2 * 4 * 4 * 9 * pixels),
        ("c", 8, 0, 2 * 4 * 8 * 9 * pixels),
    ]
    assert [layer["tied_to"] for layer in seen["layers"]] == [["b"], ["a"], []]
    (frozen,) = seen["frozen"]
    assert (frozen["kernels"], frozen["flops"]) == ({"c": 8}, seen["layers"][2]["flops"])
    assert "softmax" in frozen["operation"]
    assert seen["cost"]["flops"] == sum(layer["flops"] for layer in seen["layers"]) + 2 * 8 * 2
    # One kernel of a and b each, all eight of c.
    assert seen["smallest"]["flops"] == 2 * pixels * 9 * (3 + 1 + 8) + 2 * 8 * 2
    assert (seen["kernels"], seen["droppable_kernels"]) == (16, 8)


def test_a_layer_counts_each_of_its_calls_and_no_other_layer(call: Call, nets: Path) -> None:
    result = call("inspect", "python:inspected_nets:Shared", "--input-shape", "3,8,8", "--classes", "2", "--json")
    assert result.exit_code == 0, result.stderr
    seen = json.loads(result.stdout)
    flops = {"head": 2 * 3 * 4 * 9 * 64, "again.0": 2 * (2 * 4 * 4 * 9 * 64)}
    assert {layer["name"]: layer["flops"] for layer in seen["layers"]} == flops
    assert seen["cost"]["flops"] == sum(flops.values()) + 2 * 4 * 2


def test_a_network_from_which_nothing_can_be_dropped_ends_with_1(call: Call, nets: Path) -> None:
    result = call("inspect", "python:inspected_nets:frozen", "--input-shape", "3,8,8", "--classes", "2")
    assert result.exit_code == 1
    assert "0 of 4 kernels can be dropped" in result.stdout
    assert "no kernel can be dropped; no splitter makes this network smaller" in result.stderr
    result = call("inspect", "python:inspected_nets:dense", "--input-shape", "3,8,8", "--classes", "2")
    assert result.exit_code == 1
    assert "no convolution" in result.stderr


def test_the_number_of_logits_is_that_of_the_weights(call: Call, nets: Path) -> None:
    from benchmarks.cells import ModelSpec
    from benchmarks.models import build_model

    model = build_model(
        ModelSpec(name="rescnn", settings={"width": 0.05}), n_classes=7, input_shape=(3, 32, 32), seed=0
    )
    torch.save(model.state_dict(), nets / "seven.pth")
    (nets / "inspected_nets.py").write_text(
        "from benchmarks.cells import ModelSpec\nfrom benchmarks.models import build_model\n\n\n"
        "def seven(n_classes, input_shape):\n"
        "    spec = ModelSpec(name='rescnn', settings={'width': 0.05})\n"
        "    return build_model(spec, n_classes=n_classes, input_shape=input_shape, seed=0)\n"
    )
    import sys

    sys.modules.pop("inspected_nets", None)
    result = call("inspect", "python:inspected_nets:seven", "--weights", "seven.pth", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["n_logits"] == 7


def test_a_file_of_ours_and_a_name_are_inspected(call: Call, at_work: Path) -> None:
    result = call("inspect", "weights")
    assert result.exit_code == 0, result.stderr
    assert "rescnn: 3x32x32 images to 10 logits" in result.stdout
    assert "kernels can be dropped" in result.stdout
    wrong = call("inspect", "rescn")
    assert (wrong.exit_code, "Did you mean 'rescnn'" in wrong.stderr) == (2, True)
