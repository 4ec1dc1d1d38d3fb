"""Real architectures: masked forward == extracted module, on random masks, statistics and biases."""

from functools import cache

import pytest
import torch
import torchvision
from exactness import (
    TOLERANCE,
    assert_exact,
    bits_before_repair,
    images,
    maskable,
    random_bits,
    shaken,
    worst_difference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.masks import empty_sets

_OURS = ("simcnn", "rescnn", "incecnn")
_TORCHVISION = (
    "resnet18", "resnet50", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "densenet121",
    "googlenet", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "regnet_y_400mf", "resnext50_32x4d",
)  # fmt: skip
_FEW = 0.02
"""A share of channels at which some layers of every network would lose all channels."""
_ENDS_IN = {"squeezenet1_1": {"classifier.1"}}
_LESS_INITIALISATION = {
    "googlenet": {"init_weights": False, "aux_logits": False},
    "vgg11_bn": {"init_weights": False},
}


def _ours(name: str, **settings: object) -> nn.Module:
    spec = ModelSpec(name=name, settings={"width": 0.125, **settings})
    return shaken(build_model(spec, n_classes=10, input_shape=(3, 32, 32), seed=0))


def _torchvision(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        extra = _LESS_INITIALISATION.get(name, {})
        return shaken(torchvision.models.get_model(name, weights=None, num_classes=10, **extra))


@cache
def _graph(name: str) -> ChannelGraph:
    return ChannelGraph.trace(_ours(name), images(2, 3, 32, 32))


@pytest.mark.parametrize("name", _OURS)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_our_networks_masked_equal_extracted(name: str, norm: str) -> None:
    graph = assert_exact(_ours(name, norm=norm), images(3, 3, 32, 32))
    assert graph.frozen == ()
    assert sum(maskable(graph).values()) == graph.layout.n_kernels


@pytest.mark.parametrize("name", _OURS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), keep=st.floats(0, 1), n_modules=st.integers(1, 4))
def test_our_networks_masked_equal_extracted_for_any_masks(name: str, seed: int, keep: float, n_modules: int) -> None:
    graph = _graph(name)
    bits = random_bits(graph, n_modules, keep=keep, seed=seed)
    assert worst_difference(graph, images(2, 3, 32, 32, seed=seed), bits) < TOLERANCE


@pytest.mark.parametrize("name", _TORCHVISION)
def test_torchvision_networks_masked_equal_extracted(name: str) -> None:
    graph = assert_exact(_torchvision(name), images(2, 3, 64, 64), n_modules=2, keeps=(0.6, _FEW))
    drawn = bits_before_repair(graph, 2, keep=_FEW, generator=torch.Generator().manual_seed(1))
    assert bool(empty_sets(graph.layout, drawn).any()), "without the repair some layer would have lost all"
    assert {layer for layer, kernels in maskable(graph).items() if not kernels} == _ENDS_IN.get(name, set())


def test_a_convolution_that_ends_the_network_keeps_all_logits() -> None:
    graph = ChannelGraph.trace(_torchvision("squeezenet1_1"), images(1, 3, 64, 64))
    (finding,) = graph.frozen
    assert finding.reason == "the model's own output"
    assert finding.layers == (("classifier.1", 10),)


def test_convnext_is_frozen_by_its_layer_norms() -> None:
    graph = assert_exact(_torchvision("convnext_tiny"), images(2, 3, 64, 64), n_modules=1, keeps=(0.5,))
    assert graph.layout.n_channels == 0
    assert "layer_norm (layer_norm): mixes channels; always kept: 96 of features.0.0" in graph.explain()
