from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from benchmarks.single_model import export as exports

Call = Callable[..., Result]
FILE = "modules/05-5.safetensors"


def test_an_export_reports_parity_on_test_images_and_both_latencies(call: Call, at_work: Path) -> None:
    result = call("export", FILE, "--to", "torch-export", "--data", "digits", "--out", "five.pt2", "--json")
    assert result.exit_code == 0, result.stderr
    reported = json.loads(result.stdout)
    assert (reported["file"], reported["dataset"], reported["images"]) == ("five.pt2", "digits", 256)
    assert reported["difference"] <= reported["tolerance"] == 1e-4
    assert min(reported["model_seconds"], reported["export_seconds"]) > 0
    assert torch.export.load("five.pt2").module()(torch.rand(3, 3, 32, 32)).shape == (3,)


def test_without_data_the_images_are_random_and_the_report_says_so(call: Call, at_work: Path) -> None:
    result = call("export", FILE, "--to", "torch-export", "--out", "five.pt2")
    assert result.exit_code == 0, result.stderr
    assert "largest difference of a score on 256 images of random pixels: " in result.stdout
    assert "takes float images [batch, 3, 32, 32] in [0, 1]; normalisation is inside" in result.stdout


def test_an_export_without_parity_exits_with_1_and_writes_nothing(
    call: Call, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, load = exports._FORMATS["torch-export"]
    monkeypatch.setitem(exports._FORMATS, "torch-export", (make, lambda data: lambda images: load(data)(images) + 1e-3))
    result = call("export", FILE, "--to", "torch-export", "--out", "wrong.pt2")
    assert result.exit_code == 1
    assert "gives other scores" in result.stderr
    assert not Path("wrong.pt2").exists()


def test_absent_packages_exit_with_2(call: Call, at_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_ONNX_PACKAGES", ("onnx_of_nobody",))
    result = call("export", FILE, "--to", "onnx", "--out", "five.onnx")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: exports to ONNX need onnx_of_nobody, not installed here: pip install onnx_of_nobody\n",
    )


def test_weights_of_a_whole_network_are_refused_by_name(call: Call, at_work: Path) -> None:
    result = call("export", "weights", "--to", "torch-export", "--out", "whole.pt2")
    assert result.exit_code == 2
    assert "'splitbench.weights'" in result.stderr
