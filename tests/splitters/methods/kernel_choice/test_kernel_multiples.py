"""Kernel counts as multiples: what is measured, chosen and extracted is rounded."""

from typing import Any

import pytest
import torch

from splitters.graph.layout import ChannelGroup, ChannelLayout, Layer
from splitters.methods.kernel_choice.kernel_multiples import round_up
from splitters.methods.protocol import make_splitter
from splitters.modules.module import extract_modules
from splitters.networks.inference import accuracy, composed_answers, module_logits
from splitters.testing import tiny_task

_LAYOUT = ChannelLayout((Layer("conv", tuple(range(6))),), (ChannelGroup((0,), tuple(range(6))),), (tuple(range(6)),))
_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("random", {"retention": 0.4}),
    ("importance", {"retention": 0.4}),
    ("gradsplitter", {"preset": "fast"}),
    ("cnnsplitter", {"population": 8, "parents": 4, "elites": 2, "generations": 2, "min_kept": 8}),
]


def test_the_best_channels_are_added_until_the_count_is_a_multiple_or_all() -> None:
    bits = torch.tensor([[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]]).bool()
    priority = torch.tensor([0.0, 0.1, 0.2, 0.9, 0.3, 0.4]).expand(3, -1)
    expected = torch.tensor([[1, 0, 0, 1, 0, 1], [1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]]).bool()
    assert not torch.equal(round_up(_LAYOUT, bits, priority, 3), bits)
    assert round_up(_LAYOUT, bits, priority, 3).sum(1).tolist() == [3, 6, 6]
    assert torch.equal(round_up(_LAYOUT, bits, priority, 3)[0], expected[0])
    assert round_up(_LAYOUT, bits, priority, 4).sum(1).tolist() == [4, 4, 6]
    assert torch.equal(round_up(_LAYOUT, bits, priority, 4)[1], bits[1])
    assert torch.equal(round_up(_LAYOUT, bits, priority, 1), bits)


@pytest.mark.parametrize(("splitter", "settings"), _SETTINGS)
def test_every_splitter_keeps_multiples_and_measures_them(splitter: str, settings: dict[str, Any]) -> None:
    task = tiny_task()
    graph = task.trace()
    result = make_splitter(splitter, {**settings, "round_to": 3}).split(task, graph=graph)
    for group in graph.layout.groups:
        size = len(group.channels)
        assert {count % 3 for count in result.masks.bits[:, list(group.channels)].sum(1).tolist() if count < size} <= {
            0
        }
    assert result.masks.retention < 1
    if "accuracy" in result.history[-1]:
        scores = result.scores(module_logits(graph, result.masks, task.select))
        measured = accuracy(composed_answers(scores), task.select.labels)
        assert measured in {state["accuracy"] for state in result.history}
    modules = extract_modules(graph, result, task.select.class_names, task.select.normalisation)
    kept = [[len(kernels) for kernels in module.info.kept.values()] for module in modules]
    assert kept == result.masks.kernels_per_layer.tolist()


@pytest.mark.parametrize(("splitter", "settings"), _SETTINGS)
def test_rounding_that_keeps_every_kernel_is_named(splitter: str, settings: dict[str, Any]) -> None:
    result = make_splitter(splitter, {**settings, "round_to": 64}).split(tiny_task())
    assert result.masks.retention == 1
    assert result.warnings[0].startswith("no kernel can be dropped: round_to is 64, and no channel group has more than")
