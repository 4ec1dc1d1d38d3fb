"""Candidates with shared computation give the same logits as each alone."""

import weakref

import pytest
import torch
import torchvision
from exactness import shaken
from small_nets import BETWEEN
from synchronisations import Synchronisations
from torch import nn

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from benchmarks.speed.cnnsplitter.plain import plain_scores
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks import shared_forward
from splitters.networks.masks import KernelMasks
from splitters.networks.shared_forward import SharedForward
from splitters.testing import TinyNet


def named(name):
    return lambda: build_model(
        ModelSpec(name=name, settings={"width": 0.1}), n_classes=4, input_shape=(3, 32, 32), seed=1
    )


NETS = {
    "tiny": (TinyNet, 8),
    "simcnn": (named("simcnn"), 32),
    "rescnn": (named("rescnn"), 32),
    "incecnn": (named("incecnn"), 32),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=4), 32),
    "shufflenet_v2_x0_5": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=4), 32),
}


def images_of(size, count):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(count) % 4, ("a", "b", "c", "d"), IMAGENET)


def masks_with_common_beginnings(graph, count, seed):
    """Random masks of which several are alike up to a random channel."""
    generator = torch.Generator().manual_seed(seed)
    n_channels = graph.layout.n_channels
    bits = torch.rand(count, n_channels, generator=generator) < 0.6
    for row in range(1, count):
        point = int(torch.randint(n_channels, (1,), generator=generator))
        bits[row, :point] = bits[row // 2, :point]
    return KernelMasks.repaired(graph.layout, bits, torch.rand(count, n_channels, generator=generator)).bits


@pytest.fixture(params=["as a tree", "folded"])
def way(request, monkeypatch):
    """Run candidates as on a CPU, and as on a GPU."""
    monkeypatch.setattr(shared_forward, "is_launch_bound", lambda device: request.param == "folded")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", NETS)
def test_shared_logits_equal_those_of_each_candidate_alone(name):
    make, size = NETS[name]
    torch.manual_seed(0)
    images = images_of(size, 5)
    n_classes = 3 if name == "tiny" else 4
    graph = ChannelGraph.trace(make().eval(), images.normalisation(images.images[:2]))
    bits = masks_with_common_beginnings(graph, 8, seed=3)
    classes = torch.arange(8) % n_classes
    forward = SharedForward(graph, batch_size=3, memory_bytes=1 << 30)
    found = forward.class_logits(bits, classes, images)
    expected = plain_scores(graph, bits, classes.tolist(), images)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("case", BETWEEN, ids=lambda case: case.name)
def test_shared_logits_of_small_nets_equal_those_of_each_candidate_alone(case):
    images = images_of(8, 3)
    graph = ChannelGraph.trace(shaken(case.make()), images.normalisation(images.images[:2]).contiguous())
    bits = masks_with_common_beginnings(graph, 6, seed=3)
    classes = torch.arange(6) % 4
    found = SharedForward(graph, batch_size=3, memory_bytes=1 << 30).class_logits(bits, classes, images)
    expected = plain_scores(graph, bits, classes.tolist(), images)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def tiny_graph(images):
    torch.manual_seed(0)
    return ChannelGraph.trace(TinyNet().eval(), images.normalisation(images.images[:2]))


def test_folded_candidates_run_in_chunks_that_fit_in_memory(monkeypatch):
    images = images_of(8, 40)
    graph = tiny_graph(images)
    bits, classes = masks_with_common_beginnings(graph, 12, seed=5), torch.arange(12) % 3
    expected = SharedForward(graph, batch_size=40, memory_bytes=1 << 30).class_logits(bits, classes, images)
    monkeypatch.setattr(shared_forward, "is_launch_bound", lambda device: True)
    forward = SharedForward(graph, batch_size=10, memory_bytes=1 << 30)
    budget = 5 * 10 * forward.bytes_per_image
    forward = SharedForward(graph, batch_size=10, memory_bytes=budget)
    passes = []
    forward._masked.register_forward_hook(lambda _, inputs, output: passes.append(tuple(output.shape)))
    found = forward.class_logits(bits, classes, images)
    assert passes == [(4, 10, 3)] * 3 * 4
    assert 0 < forward.peak_bytes <= budget
    assert torch.allclose(found, expected, atol=1e-5)


def test_folded_candidates_never_wait_for_the_device(monkeypatch):
    monkeypatch.setattr(shared_forward, "is_launch_bound", lambda device: True)
    images = images_of(8, 12)
    graph = tiny_graph(images)
    forward = SharedForward(graph, batch_size=12, memory_bytes=1)  # one candidate and one image at a time
    bits = masks_with_common_beginnings(graph, 9, seed=5)
    forward.class_logits(bits[:1], torch.zeros(1).long(), images)  # computes what is computed once
    with Synchronisations() as waits:
        forward.class_logits(bits, torch.arange(9) % 3, images)
    assert not waits


def test_a_shared_beginning_runs_once():
    images = images_of(8, 4)
    graph = ChannelGraph.trace(TinyNet().eval(), images.normalisation(images.images[:2]))
    forward = SharedForward(graph, batch_size=4, memory_bytes=1 << 30)
    calls = []
    for module_name, module in graph.network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=module_name: calls.append(name))
    bits = torch.ones(3, graph.layout.n_channels, dtype=torch.bool)
    forward.class_logits(bits, torch.arange(3), images)
    assert len(calls) == 3, "three candidates that are alike run each of the three convolutions once"


def test_the_memory_limit_lowers_the_images_per_pass_and_holds():
    images = images_of(8, 40)
    graph = ChannelGraph.trace(TinyNet().eval(), images.normalisation(images.images[:2]))
    bits = masks_with_common_beginnings(graph, 12, seed=5)
    wide = SharedForward(graph, batch_size=40, memory_bytes=1 << 30)
    full = wide.class_logits(bits, torch.zeros(12, dtype=torch.int64), images)
    budget = wide.peak_bytes // 3
    narrow = SharedForward(graph, batch_size=40, memory_bytes=budget)
    assert 1 <= narrow.batch_size() < wide.batch_size()
    assert torch.allclose(narrow.class_logits(bits, torch.zeros(12, dtype=torch.int64), images), full, atol=1e-5)
    assert 0 < narrow.peak_bytes <= budget


def many_classes(n_classes, n_candidates):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes))
    images = images_of(8, 20)
    graph = ChannelGraph.trace(net, images.normalisation(images.images[:2]))
    bits = masks_with_common_beginnings(graph, n_candidates, seed=1)
    return graph, bits, torch.arange(n_candidates) % n_classes, images


def test_of_each_candidate_only_its_own_classs_logits_are_held(monkeypatch):
    graph, bits, classes, images = many_classes(n_classes=1000, n_candidates=60)
    live, counts = [], []
    compute = shared_forward._Walk._value

    def watched(*args):
        value = compute(*args)
        if isinstance(value, torch.Tensor) and value.shape[-1] == 1000:
            live.append(weakref.ref(value))
            counts.append(sum(one() is not None for one in live))
        return value

    forward = SharedForward(graph, batch_size=20, memory_bytes=1 << 30)
    monkeypatch.setattr(shared_forward._Walk, "_value", watched)
    found = forward.class_logits(bits, classes, images)
    assert len(counts) > 5
    assert max(counts) <= 2, "the logits of all classes go when those of the next candidate come"
    assert forward.peak_bytes < 20 * (forward.bytes_per_image + 4 * 60 + 1)
    assert torch.allclose(found, plain_scores(graph, bits, classes.tolist(), images), atol=1e-5)


def test_the_logits_of_many_candidates_lower_the_images_per_pass():
    graph, bits, classes, images = many_classes(n_classes=4, n_candidates=3000)
    forward = SharedForward(graph, batch_size=20, memory_bytes=1 << 30)
    budget = 5 * (forward.bytes_per_image + 4 * 3000)
    narrow = SharedForward(graph, batch_size=20, memory_bytes=budget)
    assert narrow.batch_size() > 5
    found = narrow.class_logits(bits, classes, images)
    assert 4 * 3000 * 5 < narrow.peak_bytes <= budget
    assert torch.allclose(found, forward.class_logits(bits, classes, images), atol=1e-5)


def test_every_pass_calls_back_and_can_be_stopped():
    images = images_of(8, 10)
    graph = ChannelGraph.trace(TinyNet().eval(), images.normalisation(images.images[:2]))
    announced = []
    forward = SharedForward(graph, batch_size=4, memory_bytes=1 << 30, on_batch=lambda: announced.append(1))
    forward.class_logits(torch.ones(1, graph.layout.n_channels, dtype=torch.bool), torch.zeros(1).long(), images)
    assert len(announced) == 3


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.MaxPool2d((2, 2), stride=2), nn.MaxPool2d(2, 1), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2, 1)],
)
def test_pooling_equals_torchs(pool, size):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), pool, nn.Conv2d(5, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = images_of(size + 2, 3)
    graph = ChannelGraph.trace(net, images.normalisation(images.images[:2]))
    bits = torch.ones(1, graph.layout.n_channels, dtype=torch.bool)
    found = SharedForward(graph, batch_size=3, memory_bytes=1 << 30).class_logits(bits, torch.tensor([2]), images)
    expected = net(images.normalisation(images.images))[:, 2]
    assert torch.allclose(found[0], expected, atol=1e-5)
