from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from splitters.modules.module import Module

Call = Callable[..., Result]


def test_a_modules_card_says_where_it_comes_from_and_how_to_load_it(call: Call, at_work: Path) -> None:
    module = Module.load("modules/05-5.safetensors")
    card = call("card", "modules/05-5.safetensors").stdout
    for row in (
        "| class | 5, 6 of 10 |",
        "| images | 3x32x32 (channels, height, width) |",
        f"| parameters | {module.cost().parameters:,} |",
        f"| select f1 | {module.info.metrics['select_f1']:.4g} |",
        f"| base model's weights | SHA-256 {module.info.base_model_hash} |",
        "| training images | digits, seed 3 |",
        "| licence | not known |",
        'module = Module.load("05-5.safetensors")',
    ):
        assert row in card


def test_composed_patched_and_trained_networks_have_cards(call: Call, at_work: Path, tmp_path: Path) -> None:
    pair, patched = str(tmp_path / "pair"), str(tmp_path / "patched")
    call("compose", "modules/01-1.safetensors", "modules/09-9.safetensors", "--out", pair)
    card = call("card", pair).stdout
    assert "# Classifier of 1, 9" in card
    assert "| 9 | rescnn | importance | " in card
    module = ("--module", "modules/05-5.safetensors", "--target-class", "5")
    assert call("patch", "--weak", "weights", *module, "--data", "digits", "--out", patched).exit_code == 0
    assert "| fusion rule | logistic |" in call("card", patched).stdout
    assert "| trained on | digits, seed 3 |" in call("card", "weights").stdout


def test_text_of_a_file_is_no_markup(call: Call, at_work: Path, tmp_path: Path) -> None:
    module = Module.load("modules/05-5.safetensors")
    module.info = module.info.model_copy(update={"licence": "MIT\n# <b>|x", "trained_on": ({},)})
    module.save(tmp_path / "m.safetensors")
    card = call("card", tmp_path / "m.safetensors").stdout
    assert r"| licence | MIT # \<b\>\|x |" in card
    assert r"""license: "MIT\n# <b>|x" """.rstrip() in card
    assert "| training images | of the base model not known |" in card


@pytest.mark.parametrize(("file", "message"), [("small.yaml", "is no safetensors file"), ("none", "no such file")])
def test_what_has_no_card_is_refused(call: Call, at_work: Path, file: str, message: str) -> None:
    result = call("card", file)
    assert (result.exit_code, message in result.stderr) == (2, True)
