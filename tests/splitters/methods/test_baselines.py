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
from splitters.methods.kernel_choice.taylor import taylor_terms
from splitters.methods.protocol import SplitResult, SplitTask, make_splitter
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.methods.scoring.kinds import DEFAULT_HEAD_STEPS
from splitters.modules.score_kinds import HeadScores, LogitScores, ScaledLogitScores
from splitters.modules.scores import Scores
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
    assert make_splitter("full", {}).settings.model_dump(mode="json") == {}, "its cells keep their identity"


@pytest.mark.parametrize("name", ["full", "random", "importance", "taylor"])
@pytest.mark.parametrize(
    ("score", "kind"), [("logit", LogitScores), ("moments", ScaledLogitScores), ("head", HeadScores)]
)
def test_every_baseline_has_every_kind_of_score(name: str, score: str, kind: type[Scores]) -> None:
    task = tiny_task()
    graph = task.trace()
    result = make_splitter(name, {"score": score, "head_steps": 3}).split(task, graph=graph)
    expected = ScoreFitter(graph, task, 3).fit(score, result.masks)
    assert isinstance(result.scores, kind)
    assert result.scores.tensors().keys() == expected.tensors().keys()
    assert all(torch.equal(value, expected.tensors()[key]) for key, value in result.scores.tensors().items())


def test_the_best_kind_is_the_default_and_all_kinds_are_reported() -> None:
    task = tiny_task()
    graph = task.trace()
    result = make_splitter("importance", {"retention": 0.4, "head_steps": 9}).split(task, graph=graph)
    best = ScoreFitter(graph, task, 9).fit_best(result.masks)
    assert type(result.scores) is type(best.scores)
    (record,) = result.history
    assert record["accuracy"] == max(best.accuracy.values())
    assert {kind: record[f"accuracy_{kind}"] for kind in ("logit", "moments", "head")} == best.accuracy


@pytest.mark.parametrize("name", ["random", "importance", "taylor"])
@pytest.mark.parametrize(("retention", "counts"), [(0.5, [3, 4]), (0.01, [1, 1]), (1.0, [6, 8]), (0.7, [4, 6])])
def test_each_group_keeps_its_share(name: str, retention: float, counts: list[int]) -> None:
    result = make_splitter(name, {"retention": retention, "score": "logit"}).split(tiny_task())
    assert _counts(result).tolist() == [counts] * 3


@pytest.mark.parametrize("name", ["random", "importance", "taylor"])
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
    like = {"name": "random", "settings": {"retention": 0.1}}
    splitter = make_splitter(name, {"retention": 0.9, "score": "logit", "like": like})
    assert torch.equal(_counts(splitter.split(task)), _counts(other))
    assert asked == [("random", {"score": "best", "head_steps": DEFAULT_HEAD_STEPS, "retention": 0.1, "like": None})]
    assert [reference.name for reference in splitter.references()] == ["random"]
    assert make_splitter(name, {}).references() == ()


def test_like_makes_the_other_splitter_itself_where_nobody_stores_results() -> None:
    like = {"name": "random", "settings": {"retention": 0.3}}
    result = make_splitter("importance", {"like": like, "score": "logit"}).split(tiny_task())
    expected = make_splitter("random", {"retention": 0.3, "score": "logit"}).split(tiny_task())
    assert torch.equal(_counts(result), _counts(expected))


def test_random_depends_on_the_seed_and_differs_between_modules() -> None:
    one, other = (make_splitter("random", {"score": "logit"}).split(tiny_task(seed)).masks for seed in (0, 1))
    assert not torch.equal(one.bits, other.bits)
    assert one.mean_jaccard_distance > 0


def test_importance_keeps_the_most_important() -> None:
    task = tiny_task()
    graph = task.trace()
    masks = make_splitter("importance", {"retention": 0.5, "score": "logit"}).split(task, graph=graph).masks
    norms = channel_importance(graph, task.train).norms
    _check_highest_kept(masks, norms)


def test_taylor_keeps_the_channels_of_the_largest_terms() -> None:
    task = tiny_task()
    graph = task.trace()
    masks = make_splitter("taylor", {"score": "logit"}).split(task, graph=graph).masks
    _check_highest_kept(masks, taylor_terms(graph, task.train))


def _check_highest_kept(masks: KernelMasks, norms: Tensor) -> None:
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
