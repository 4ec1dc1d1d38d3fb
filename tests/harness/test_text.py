from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.text import indented_json


@pytest.mark.parametrize(
    "value",
    [
        None, "ä", 0.1, [], {}, [1], {"a": 1}, [[]], [{}], {"a": {}}, (1, (2, "x")),
        [1, [2, [3, "é"]], {"k": [None, True]}],
        {"a": [1.5, 2], "b": {"c": [], "d": {"e": "\n\u2028"}}, "": "ü"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_indented_json_is_that_of_the_library(value: Any, ensure_ascii: bool) -> None:
    assert indented_json(value, ensure_ascii=ensure_ascii) == json.dumps(value, indent=2, ensure_ascii=ensure_ascii)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        indented_json([{"a": math.nan}])
