"""The way in which a GPU evaluates and merges candidates finds what the CPU's way finds."""

from __future__ import annotations

import pytest
import torch

from splitters.methods.cnnsplitter import merging
from splitters.methods.protocol import SplitResult, make_splitter
from splitters.networks import shared_forward
from splitters.testing import tiny_task

_SETTINGS = {
    "population": 6, "parents": 4, "elites": 2, "generations": 3, "genes": 4, "curve_shares": [0.3, 0.6],
    "score": "moments", "batch_size": 25,
}  # fmt: skip
_MEASURED = ("seconds", "evaluation_seconds", "merging_seconds", "generation_seconds")


def _search() -> SplitResult:
    return make_splitter("cnnsplitter", _SETTINGS).split(tiny_task())


def test_a_search_as_on_a_gpu_finds_the_same_modules_by_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _search()
    for module in (shared_forward, merging):
        monkeypatch.setattr(module, "is_launch_bound", lambda device: True)
    found = _search()
    assert torch.equal(found.masks.bits, expected.masks.bits)
    assert found.facts["chosen_generation"] == expected.facts["chosen_generation"]
    for one, other in zip(found.history, expected.history, strict=True):
        assert {name: value for name, value in one.items() if name not in _MEASURED} == {
            name: value for name, value in other.items() if name not in _MEASURED
        }
    assert [row.accuracy for row in found.sensitivity] == [row.accuracy for row in expected.sensitivity]
