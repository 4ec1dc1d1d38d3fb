"""Lists of class names on the command line."""

from __future__ import annotations

import pytest

from harness.cli.given_options import GivenOptions
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


def test_the_classes_of_given_weights_are_separated_alike() -> None:
    nothing = dict.fromkeys(("mean", "std", "normalisation", "input_shape", "transform_from", "class_map"))
    assert GivenOptions(**nothing, class_names=r"cat\, wild,dog", force=False).names == ["cat, wild", "dog"]
