"""Splitters without a search: how much they keep, and of what."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitters.errors import ConfigurationError
from splitters.graph.layout import ChannelGroup, ChannelLayout, Layer
from splitters.methods.baselines import keep_highest
from splitters.methods.kernel_choice.importance import channel_importance
from splitters.methods.protocol import SplitResult, SplitTask, make_splitter
from splitters.modules.score_kinds import LogitScores
from splitters.networks.masks import KernelMasks
from splitters.testing import tiny_task

_LAYOUT = ChannelLayout(
    layers=(Layer("a", (0, 1, 2, 3)), Layer("b", (4, 5, 6)), Layer("c", (6, 5, 4))),
    groups=(ChannelGroup((0,), (0, 1, 2, 3)), ChannelGroup((1, 2), (4, 5, 6))),
    required=((0, 1, 2, 3), (4, 5, 6)),
)


def _counts(result: SplitResult) -> Tensor:
    bits = result.masks.bits
    return torch.stack([bits[:, list(group.channels)].sum(1) for group in result.masks.layout.groups], 1)


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
def test_the_highest_are_kept_and_of_equals_the_first(counts: list[tuple[int, int]], seed: int) -> None:
    priority = torch.randint(0, 3, (len(counts), 7), generator=torch.Generator().manual_seed(seed)).float()
    bits = keep_highest(_LAYOUT, priority, torch.tensor(counts)).bits
    for row, wanted, values in zip(bits, counts, priority.tolist(), strict=True):
        expected = set()
        for group, count in zip(_LAYOUT.groups, wanted, strict=True):
            expected |= set(sorted(group.channels, key=lambda channel: (-values[channel], channel))[:count])
        assert set(row.nonzero().flatten().tolist()) == expected


def test_full_keeps_all() -> None:
    result = make_splitter("full", {}).split(tiny_task())
    assert result.masks.retention == 1
    assert isinstance(result.scores, LogitScores)


@pytest.mark.parametrize("name", ["random", "importance"])
@pytest.mark.parametrize(("retention", "counts"), [(0.5, [3, 4]), (0.01, [1, 1]), (1.0, [6, 8]), (0.7, [4, 6])])
def test_each_group_keeps_its_share(name: str, retention: float, counts: list[int]) -> None:
    result = make_splitter(name, {"retention": retention}).split(tiny_task())
    assert _counts(result).tolist() == [counts] * 3


@pytest.mark.parametrize("name", ["random", "importance"])
def test_like_keeps_as_many_as_another_splitter(name: str) -> None:
    task = tiny_task()
    bits = torch.rand(3, 14, generator=torch.Generator().manual_seed(0)) < 0.5
    layout = task.trace().layout
    other = SplitResult(KernelMasks.repaired(layout, bits, bits.float()), LogitScores())
    asked: list[tuple[str, object]] = []

    def resolve(splitter: str, settings: object) -> SplitResult:
        asked.append((splitter, settings))
        return other

    task = SplitTask(task.model, task.train, task.select, task.seed, resolve=resolve)
    splitter = make_splitter(name, {"retention": 0.9, "like": {"name": "random", "settings": {"retention": 0.1}}})
    assert torch.equal(_counts(splitter.split(task)), _counts(other))
    assert asked == [("random", {"retention": 0.1, "like": None})]
    assert [reference.name for reference in splitter.references()] == ["random"]
    assert make_splitter(name, {}).references() == ()


def test_like_makes_the_other_splitter_itself_where_nobody_stores_results() -> None:
    like = {"name": "random", "settings": {"retention": 0.3}}
    result = make_splitter("importance", {"like": like}).split(tiny_task())
    assert torch.equal(_counts(result), _counts(make_splitter("random", {"retention": 0.3}).split(tiny_task())))


def test_random_depends_on_the_seed_and_differs_between_modules() -> None:
    one, other = (make_splitter("random", {}).split(tiny_task(seed)).masks for seed in (0, 1))
    assert not torch.equal(one.bits, other.bits)
    assert one.mean_jaccard_distance > 0


def test_importance_keeps_the_most_important() -> None:
    task = tiny_task()
    graph = task.trace()
    masks = make_splitter("importance", {"retention": 0.5}).split(task, graph=graph).masks
    norms = channel_importance(graph, task.select).norms
    for group in masks.layout.groups:
        channels = list(group.channels)
        kept = masks.bits[:, channels]
        worst_kept = norms[:, channels].masked_fill(~kept, torch.inf).amin(1)
        best_dropped = norms[:, channels].masked_fill(kept, -torch.inf).amax(1)
        assert (worst_kept >= best_dropped).all()


@pytest.mark.parametrize("retention", [0, -0.1, 1.1])
def test_retention_is_a_share(retention: float) -> None:
    with pytest.raises(ConfigurationError, match="retention"):
        make_splitter("random", {"retention": retention})
