"""Kinds of scores: cache and file round trips of built-in kinds and plug-ins, and what is refused."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from exactness import images, random_bits, shaken
from small_nets import Between
from torch import Tensor

from splitters.data import IMAGENET
from splitters.errors import ConfigurationError, ModuleFileError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import Module, extract_modules
from splitters.modules.score_kinds import HeadScores, LinearScores, LogitScores, ScaledLogitScores
from splitters.modules.scores import SCORES, ModuleScore, Scores, describe_scores, rebuild_scores
from splitters.networks.masks import KernelMasks

_BATCH = images(3, 3, 8, 8)


class Margin(ModuleScore):
    """The logit of a class minus the highest other one, times a factor: a score without tensors."""

    kind = "margin"

    def __init__(self, class_index: int, factor: float) -> None:
        super().__init__()
        self.class_index, self.factor = class_index, factor

    def forward(self, logits: Tensor) -> Tensor:
        others = logits.clone()
        others[:, self.class_index] = -torch.inf
        return (logits[:, self.class_index] - others.amax(1)) * self.factor

    def describe(self) -> dict[str, int | float]:
        return {"class_index": self.class_index, "factor": self.factor}


@dataclass(frozen=True)
class MarginScores(Scores):
    kind = "margin"
    module_score = Margin
    factor: float = 0.5

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.stack([self.of(module)(part) for module, part in enumerate(logits)])

    def of(self, module: int) -> Margin:
        return Margin(module, self.factor)

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def describe(self) -> dict[str, float]:
        return {"factor": self.factor}


@pytest.fixture
def margin(monkeypatch: pytest.MonkeyPatch) -> MarginScores:
    monkeypatch.setattr(SCORES, "_entries", dict(SCORES._entries))
    SCORES.register("margin")(MarginScores)
    return MarginScores()


def modules(scores: Scores) -> list[Module]:
    graph = ChannelGraph.trace(shaken(Between(lambda net, x: x.relu())), _BATCH)
    masks = KernelMasks(graph.layout, random_bits(graph, 4, keep=0.5))
    return extract_modules(graph, SplitResult(masks, scores), ("a", "b", "c", "d"), IMAGENET)


@pytest.mark.parametrize(
    "scores",
    [
        LogitScores(),
        ScaledLogitScores(torch.arange(4.0), torch.ones(4)),
        LinearScores(images(4, 4), torch.arange(4.0)),
        HeadScores.initialised(4, 4, 10, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["logit", "scaled_logit", "linear", "head"],
)
def test_built_in_kinds_survive_a_cache(scores: Scores) -> None:
    logits = images(4, 7, 4)
    rebuilt = rebuild_scores(*describe_scores(scores))
    assert type(rebuilt) is type(scores)
    assert torch.equal(rebuilt(logits), scores(logits))


def test_linear_scores_begin_as_own_logits_and_are_the_single_modules_sums() -> None:
    logits = images(4, 7, 4)
    assert torch.equal(LinearScores.own_logits(4)(logits), LogitScores()(logits))
    scores = LinearScores(images(4, 4, seed=1), torch.arange(4.0))
    alone = torch.stack([scores.of(module)(part) for module, part in enumerate(logits)])
    torch.testing.assert_close(scores(logits), alone)
    assert float(scores(logits)[2, 5]) == pytest.approx(float(logits[2, 5] @ scores.weight[2]) + 2)


def test_a_plug_ins_scores_without_tensors_survive_cache_and_file(margin: MarginScores, tmp_path: Path) -> None:
    logits = images(4, 7, 4)
    description, tensors = describe_scores(margin)
    assert (description, tensors) == ({"kind": "margin", "settings": {"factor": 0.5}}, {})
    rebuilt = rebuild_scores(description, tensors)
    assert rebuilt == margin
    assert torch.equal(rebuilt(logits), margin(logits))
    module = modules(margin)[2]
    module.save(tmp_path / "module")
    loaded = Module.load(tmp_path / "module")
    assert isinstance(loaded.score, Margin)
    with torch.no_grad():
        assert torch.equal(loaded(_BATCH), module(_BATCH))


def test_loading_an_uninstalled_kind_names_it(margin: MarginScores, tmp_path: Path) -> None:
    modules(margin)[0].save(tmp_path / "module")
    del SCORES._entries["margin"]
    with pytest.raises(ModuleFileError, match=r"unknown kind of scores 'margin'.*Install the package"):
        Module.load(tmp_path / "module")


def test_unregistered_scores_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"MarginScores \(kind 'margin'\) is not a registered kind of scores"):
        describe_scores(MarginScores())
    with pytest.raises(ModuleFileError, match=r"the module of 'a' cannot be saved: Margin .*register it with @SCORES"):
        modules(MarginScores())[0].save(tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_an_unregistered_subclass_with_a_registered_name_is_refused() -> None:
    class Impostor(LogitScores):
        pass

    with pytest.raises(ConfigurationError, match="Impostor"):
        describe_scores(Impostor())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "come back changed"),
        ({"fcator": 0.5}, "cannot be rebuilt: .*fcator"),
        ({"factor": float("nan")}, "must be booleans, finite numbers and texts"),
        ({"factor": torch.ones(1)}, "must be booleans, finite numbers and texts"),
    ],
)
def test_scores_that_would_come_back_changed_are_refused(
    margin: MarginScores, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], message: str
) -> None:
    scores = MarginScores(factor=0.75)
    monkeypatch.setattr(MarginScores, "describe", lambda self: settings if self is scores else {"factor": self.factor})
    with pytest.raises(ConfigurationError, match=message):
        describe_scores(scores)


def test_a_module_whose_score_would_come_back_changed_is_refused(
    margin: MarginScores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Margin, "describe", lambda self: {"class_index": self.class_index, "factor": 3.0})
    with pytest.raises(ModuleFileError, match="rebuilt from its description it scores an image"):
        modules(margin)[0].save(tmp_path / "module")
    assert list(tmp_path.iterdir()) == []
