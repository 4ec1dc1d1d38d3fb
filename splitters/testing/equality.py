"""Whether two results of splitters are the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from splitters.methods.protocol import SplitResult


def assert_equal_results(one: SplitResult, other: SplitResult) -> None:
    """Check that two results are equal bit for bit, except for timings.

    Raises:
        AssertionError: If they differ, with the first difference.
    """
    tensors = one.scores.tensors(), other.scores.tensors()
    for part, same in (
        ("the layouts", one.masks.layout == other.masks.layout),
        ("the masks", same_value(one.masks.bits, other.masks.bits)),
        ("the masks' gates", same_value(one.masks.gates, other.masks.gates)),
        ("the kinds of scores", type(one.scores) is type(other.scores)),
        ("the descriptions of the scores", one.scores.describe() == other.scores.describe()),
        ("the names of the scores' tensors", tensors[0].keys() == tensors[1].keys()),
        *((f"the scores' {name!r}", same_value(value, tensors[1].get(name))) for name, value in tensors[0].items()),
        ("met_tolerance", one.met_tolerance == other.met_tolerance),
        ("the warnings", one.warnings == other.warnings),
        ("the sensitivities", one.sensitivity == other.sensitivity),
        ("the facts", _timeless(one.facts) == _timeless(other.facts)),
        ("the histories", list(map(_timeless, one.history)) == list(map(_timeless, other.history))),
    ):
        if not same:
            raise AssertionError(f"{part} differ")


def same_value(one: object, other: object) -> bool:
    """Return whether two tensors, or two other values, are equal bit for bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and one == other


def _timeless(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not name.endswith("seconds")}
