"""Outputs that tasks share: the same as those of whole tasks, and computed once per class."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks.data.roles import Roles
from benchmarks.data.tasks import joined
from benchmarks.pipeline import class_outputs
from benchmarks.pipeline.class_outputs import ClassOutputs
from benchmarks.pipeline.composed_cost import ModuleRef
from benchmarks.pipeline.split_model import SplitModel
from benchmarks.training.last_layer import feature_extractor
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import extract_modules
from splitters.modules.score_kinds import LogitScores
from splitters.networks.execution.precision import computing_in
from splitters.networks.inference import network_logits
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import compose
from splitters.settings import Precision

_NAMES = ("a", "b", "c")


def _split_model() -> SplitModel:
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    graph = ChannelGraph.trace(nn.Sequential(*layers).eval().requires_grad_(False), torch.zeros(1, 3, 4, 4))
    result = SplitResult(KernelMasks.full(graph.layout, 3), LogitScores())
    pixels = torch.randint(0, 256, (12, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(12) % 3, _NAMES, IMAGENET)
    prepared = SimpleNamespace(roles=Roles(images, images.subset(torch.arange(6)), images))
    modules = tuple(extract_modules(graph, result, _NAMES, IMAGENET))
    return SplitModel("net", prepared, graph, SimpleNamespace(result=result), modules)  # type: ignore[arg-type]


def test_outputs_of_a_task_are_those_of_its_images_together() -> None:
    model, outputs = _split_model(), ClassOutputs("cpu")
    classes = [ModuleRef(model, index) for index in (2, 0)]
    composed = compose([source.module for source in classes], ("c", "a"))
    task = joined([(model.prepared.roles.select, name) for name in ("c", "a")], ("c", "a"))
    torch.testing.assert_close(outputs.scores(composed, classes, "select"), network_logits(composed, task))
    features = outputs.features(model, classes, "select")
    torch.testing.assert_close(features.values, network_logits(feature_extractor(model.graph.network), task))
    assert features.labels.tolist() == task.labels.tolist()
    assert features.seconds > 0


@pytest.mark.parametrize(("precision", "is_plain"), [("float32", True), ("bf16", False)])
def test_modules_score_in_the_precision_of_their_base_model(precision: Precision, is_plain: bool) -> None:
    model = _split_model()
    classes = [ModuleRef(model, index) for index in (0, 1)]
    composed = compose([source.module for source in classes], ("a", "b"))
    images = [model.prepared.roles.select.of_classes((name,)) for name in ("a", "b")]
    with computing_in(precision, "cpu"):
        scores = ClassOutputs("cpu").scores(composed, classes, "select")
        logits = torch.cat([model.logits(of_class) for of_class in images])
    plain = torch.cat([composed(next(of_class.batches(256))) for of_class in images])
    assert torch.equal(scores, logits[:, :2]), "full modules: their scores are the base model's logits"
    assert torch.equal(scores, plain) == is_plain


def test_each_class_is_computed_once_while_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, runs = _split_model(), []
    next(model.graph.network.children()).register_forward_hook(lambda module, args, y: runs.append(len(y)))
    a, b, c = (ModuleRef(model, index) for index in range(3))
    outputs = ClassOutputs("cpu")
    first = outputs.features(model, [a, b], "train")
    again = outputs.features(model, [a, c], "train")
    assert runs == [4, 4, 4]
    assert torch.equal(again.values[:4], first.values[:4])
    monkeypatch.setattr(class_outputs, "_CACHE_BYTES", 0)
    without = ClassOutputs("cpu")
    assert all(torch.equal(without.features(model, [a, b], "train").values, first.values) for _ in range(2))
    assert runs == [4] * 7
