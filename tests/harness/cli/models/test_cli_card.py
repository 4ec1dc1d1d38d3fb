from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Call = Callable[..., Result]


def test_a_card_goes_to_stdout_or_to_a_file(call: Call, at_work: Path) -> None:
    file = "modules/05-5.safetensors"
    shown = call("card", file)
    assert shown.exit_code == 0
    assert "# 05-5.safetensors" in shown.stdout.splitlines()
    assert "- digits, train images of seed 3" in shown.stdout.splitlines()
    assert call("card", file, "--out", "cards/five.md").stdout == ""
    assert Path("cards/five.md").read_text() == shown.stdout
    assert json.loads(call("card", file, "--json").stdout)["card"] + "\n" == shown.stdout


def test_the_card_of_a_trained_network_has_its_accuracy_and_classes(call: Call, at_work: Path) -> None:
    lines = call("card", "weights").stdout.splitlines()
    assert "| network | rescnn |" in lines
    assert "| classes | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in lines
    assert any(line.startswith("| accuracy on select | ") for line in lines)


def test_a_file_of_somebody_else_is_refused(call: Call, at_work: Path) -> None:
    Path("foreign.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    result = call("card", "foreign.safetensors")
    assert result.exit_code == 2
    assert "not a Splitbench module" in result.stderr
