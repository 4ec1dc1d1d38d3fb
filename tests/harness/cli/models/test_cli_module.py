from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Call = Callable[..., Result]


def test_a_module_tells_what_it_is(call: Call, at_work: Path) -> None:
    result = call("module", "info", "modules/05-5.safetensors")
    assert result.exit_code == 0
    for part in ("class_name", "rescnn", "importance", "parameters", "[3, 32, 32]"):
        assert part in result.stdout


def test_json_holds_every_kept_kernel(call: Call, at_work: Path) -> None:
    known = json.loads(call("module", "info", "modules/05-5.safetensors", "--json").stdout)
    assert (known["class_index"], known["class_name"]) == (5, "5")
    assert len(known["kept"]) == 12
    assert known["flops"] > known["parameters"] > 0


def test_another_file_is_told_apart(call: Call, at_work: Path) -> None:
    result = call("module", "info", "weights")
    assert result.exit_code == 2
    assert "holds a 'splitbench.weights', not a 'splitbench.module'" in result.stderr
