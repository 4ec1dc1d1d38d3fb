from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

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
