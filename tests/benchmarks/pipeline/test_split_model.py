"""What scenarios measure of a split model is what its modules answer once they are shipped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.pipeline.finished_split import from_state, to_state
from benchmarks.pipeline.split_model import SplitModel, with_class_name
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import extract_modules
from splitters.modules.score_kinds import HeadScores, LinearScores, LogitScores, ScaledLogitScores
from splitters.modules.scores import Scores
from splitters.networks.masks import KernelMasks

NAMES = ("a", "b", "c")
GENERATOR = torch.Generator().manual_seed(0)
KINDS = {
    "logit": LogitScores(),
    "scaled_logit": ScaledLogitScores(torch.tensor([9.0, 11.0, 8.0]), torch.tensor([1.0, 0.5, 0.2])),
    "linear": LinearScores(torch.tensor([[2.0, 0.1, 0], [-1, 3, 0.5], [0, 0, 2]]), torch.tensor([0.1, 0.2, -0.3])),
    "head": HeadScores.initialised(3, 3, 10, generator=GENERATOR),
}
SCALES = torch.linspace(-1, 2, 24).view(3, 8)


def split_model(scores: Scores, scales: torch.Tensor | None = None) -> SplitModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        network = torch.nn.Sequential(*layers, torch.nn.Linear(8, 3)).eval()
    graph = ChannelGraph.trace(network, torch.zeros(2, 3, 5, 5))
    kept = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]])
    result = SplitResult(KernelMasks(graph.layout, kept.bool(), scales), scores)
    modules = tuple(extract_modules(graph, result, NAMES, IMAGENET))
    return SplitModel("net", None, graph, SimpleNamespace(result=result), modules)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "scales"), [*((kind, None) for kind in KINDS), ("linear", SCALES)])
def test_measured_scores_and_answers_are_those_of_the_composed_model(kind: str, scales: torch.Tensor | None) -> None:
    model = split_model(KINDS[kind], scales)
    pixels = torch.randint(0, 256, (300, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSet(pixels, torch.arange(300) % 3, NAMES, IMAGENET)
    with torch.no_grad():
        shipped = model.composed(images.normalisation(pixels))
    torch.testing.assert_close(model.scores(images).T, shipped)
    torch.testing.assert_close(model.module_scores(1, images), shipped[:, 1])
    answers = model.composed.answers(model.scores(images).T)
    assert torch.equal(answers, model.composed.predict(pixels))


def test_a_cached_split_keeps_its_scales() -> None:
    model = split_model(KINDS["linear"], SCALES)
    restored = from_state(to_state(model.split.result), model.graph).masks
    assert torch.equal(restored.gates, model.split.result.masks.gates)
    assert from_state(to_state(split_model(KINDS["linear"]).split.result), model.graph).masks.scales is None


def test_a_module_under_another_class_name_is_the_same_network() -> None:
    module = split_model(LogitScores()).modules[1]
    other = with_class_name(module, "digits/b")
    assert (other.info.class_name, other.info.class_names) == ("digits/b", ("a", "digits/b", "c"))
    assert other.network is module.network
