from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]


def test_images_of_other_classes_are_left_out(call: Call, at_work: Path) -> None:
    call("compose", "modules/01-1.safetensors", "modules/09-9.safetensors", "--out", "pair")
    everything = json.loads(call("evaluate", "weights", "--data", "digits", "--json").stdout)
    pair = json.loads(call("evaluate", "pair", "--data", "digits", "--json").stdout)
    assert [score["name"] for score in pair["classes"]] == ["1", "9"]
    assert pair["images"] + pair["left_out"] == everything["images"]
    right = sum(score["recall"] * score["images"] for score in pair["classes"])
    assert pair["accuracy"] == pytest.approx(right / pair["images"])


def test_people_get_a_line_per_class(call: Call, at_work: Path) -> None:
    result = call("evaluate", "weights", "--data", "digits")
    assert result.exit_code == 0
    assert "accuracy" in result.stdout
    assert "% on 3" in result.stdout


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("modules/01-1.safetensors", "holds a single module"),
        ("small.yaml", "is no safetensors file"),
        ("none", "there is no such file"),
    ],
)
def test_what_is_no_classifier_is_refused(call: Call, at_work: Path, file: str, message: str) -> None:
    result = call("evaluate", file, "--data", "digits")
    assert result.exit_code == 2
    assert message in result.stderr
