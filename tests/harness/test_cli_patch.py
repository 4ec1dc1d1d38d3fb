from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from splitters.fusion import FUSIONS
from splitters.model_file import load_model

Call = Callable[..., Result]

USUAL = {
    "--weak": "weights",
    "--module": "modules/05-5.safetensors",
    "--target-class": "5",
    "--data": "digits",
    "--out": "patched",
}


def arguments(**changes: str) -> list[str]:
    changed = {**USUAL, **{f"--{key.replace('_', '-')}": value for key, value in changes.items()}}
    return [part for pair in changed.items() for part in pair]


@pytest.mark.parametrize("rule", sorted(FUSIONS))
def test_a_patch_says_what_it_changed(call: Call, at_work: Path, rule: str) -> None:
    result = call("patch", *arguments(fusion=rule), "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    for state in ("before", "after"):
        assert said[state]["images"] == sum(score["images"] for score in said[state]["classes"]) > 300
    assert load_model("patched").fusion.kind == rule
    evaluated = json.loads(call("evaluate", "patched", "--data", "digits", "--json").stdout)
    assert evaluated["accuracy"] == said["after"]["accuracy"]
    assert (
        json.loads(call("evaluate", "weights", "--data", "digits", "--json").stdout)["accuracy"]
        == (said["before"]["accuracy"])
    )


def test_people_get_a_table(call: Call, at_work: Path) -> None:
    result = call("patch", *arguments())
    assert result.exit_code == 0
    for part in ("before", "after", "change", "precision of '5'", "accuracy on other classes", "by logistic"):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_class": "6"}, "the module recognises '5', not '6'"),
        ({"target_class": "six"}, "there is no class 'six'"),
        ({"weak_model": "simcnn"}, "holds the weights of 'rescnn', not of 'simcnn'"),
        ({"weak": "modules/05-5.safetensors"}, "not a 'splitbench.weights'"),
        ({"module": "weights"}, "not a 'splitbench.module'"),
        ({"fusion": "plat"}, "unknown fusion rule 'plat'. Did you mean 'platt'?"),
        ({"data": "digit"}, "unknown data set 'digit'"),
    ],
)
def test_a_wrong_call_writes_nothing(call: Call, at_work: Path, changes: dict[str, str], message: str) -> None:
    result = call("patch", *arguments(**changes, out="nothing"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (at_work / "nothing").exists()
