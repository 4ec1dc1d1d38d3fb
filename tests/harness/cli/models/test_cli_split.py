from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from benchmarks.single_model.weights_file import load_weights
from splitters.modules.module import Module

Call = Callable[..., Result]


def test_every_class_has_a_file_of_its_own(at_work: Path) -> None:
    files = sorted((at_work / "modules").iterdir())
    assert [file.name for file in files] == [f"{number:02d}-{number}.safetensors" for number in range(10)]
    module = Module.load(files[4])
    assert (module.info.class_name, module.info.base_model, module.info.splitter) == ("4", "rescnn", "importance")
    assert 0.7 < module.info.metrics["kernel_retention"] < 0.95
    assert 0 <= module.info.metrics["select_f1"] <= 1


def test_trained_weights_are_split_as_the_network_that_they_came_from(call: Call, at_work: Path) -> None:
    arguments = ("--suite", "small.yaml", "--data", "digits", "--splitter", "importance", "--classes", "7,2")
    result = call("split", "--weights", "weights", *arguments, "--out", "two", "--json")
    assert result.exit_code == 0, result.stderr
    assert [entry["class"] for entry in json.loads(result.stdout)] == ["2", "7"]
    for name in ("02-2.safetensors", "07-7.safetensors"):
        one, other = Module.load(at_work / "two" / name), Module.load(at_work / "modules" / name)
        assert one.info == other.info
    assert load_weights("weights").header.seed == 3


def test_what_the_splitter_warns_of_is_told_beside_the_modules(call: Call, at_work: Path) -> None:
    arguments = ("--suite", "small.yaml", "--data", "digits", "--splitter", "importance", "--classes", "7")
    certain = ("--set", "splitters.importance.confidence=1.0")
    result = call("split", "--weights", "weights", *arguments, *certain, "--out", "unsure", "--json")
    assert [entry["class"] for entry in json.loads(result.stdout)] == ["7"]
    assert "warning: the importance for class '7' was measured on all of its images" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--splitter", "importance"), "name either a network to train (--model) or a trained one (--weights)"),
        (("--model", "rescnn", "--splitter", "importnce"), "unknown splitter of this suite 'importnce'"),
        (("--model", "rescnn", "--splitter", "importance", "--classes", "eight"), "unknown class 'eight'"),
        (("--weights", "none", "--splitter", "importance"), "none: there is no such file"),
        (("--weights", "modules/00-0.safetensors", "--splitter", "importance"), "holds a 'splitbench.module'"),
    ],
)
def test_a_wrong_call_writes_nothing(call: Call, at_work: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("split", "--suite", "small.yaml", "--data", "digits", *arguments, "--seed", 3, "--out", "nothing")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (at_work / "nothing").exists()
