from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from click.testing import Result

from splitters.modules.module import Module
from splitters.modules.score_kinds import ScaledLogitScore
from splitters.reuse.model_file import load_model

Call = Callable[..., Result]


def test_modules_become_one_classifier(call: Call, at_work: Path) -> None:
    files = ["modules/07-7.safetensors", "modules/02-2.safetensors", "modules/05-5.safetensors"]
    result = call("compose", *files, "--out", "three", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["classes"] == ["2", "5", "7"]
    assert 0 < said["kernels_union"] < said["kernels"] < 3 * said["kernels_union"]
    assert said["latency_seconds"] > 0
    assert "different ones" in call("compose", *files, "--out", "three").stdout
    assert load_model("three").class_names == ("2", "5", "7")


def test_a_class_that_comes_twice_is_refused_and_nothing_written(call: Call, at_work: Path) -> None:
    result = call("compose", "modules/02-2.safetensors", "modules/02-2.safetensors", "--out", "twice")
    assert result.exit_code == 2
    assert "there are several for ['2']" in result.stderr
    assert not Path("twice").exists()


def test_modules_with_scores_of_different_kinds_are_refused_and_nothing_written(call: Call, at_work: Path) -> None:
    module = Module.load("modules/02-2.safetensors")
    module.score = ScaledLogitScore(2, torch.tensor(3.0), torch.tensor(-1.0))
    module.save("scaled.safetensors")
    result = call("compose", "scaled.safetensors", "modules/07-7.safetensors", "--out", "mixed")
    assert result.exit_code == 2
    assert "scores of different kinds do not compare" in result.stderr
    assert "'scaled_logit' (modules of '2')" in result.stderr
    assert not Path("mixed").exists()
