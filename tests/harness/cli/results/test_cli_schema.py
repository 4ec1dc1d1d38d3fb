from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result


def test_the_schema_is_printed_as_json(call: Callable[..., Result]) -> None:
    suite = json.loads(call("schema", "suite").stdout)
    sweep = json.loads(call("schema", "sweep").stdout)
    assert "splitters" in suite["required"]
    assert "objectives" in sweep["required"]


def test_an_unknown_kind_of_file_is_refused(call: Callable[..., Result]) -> None:
    result = call("schema", "cluster")
    assert result.exit_code == 2
    assert "'suite', 'sweep'" in result.stderr
