"""Lists of class names on the command line."""

from __future__ import annotations

import pytest

from harness.cli.options import split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("7,2", ["7", "2"]),
        (" cat , dog,,", ["cat", "dog"]),
        (r"cat\, wild,dog", ["cat, wild", "dog"]),
        (r"a\\,b", ["a\\", "b"]),
        (r"C:\x\,y", [r"C:\x,y"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("", []),
    ],
)
def test_names_are_separated_by_commas_that_no_backslash_precedes(text: str, names: list[str]) -> None:
    assert split_names(text) == names
