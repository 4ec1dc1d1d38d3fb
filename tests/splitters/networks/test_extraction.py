"""Extracted networks are physically small, and the graph they come from is left unchanged."""

import pytest
import torch
from exactness import images, random_bits, shaken
from small_nets import Between, conv
from torch import nn

from splitters.errors import MaskError
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.extraction import extract_network

_BATCH = images(2, 3, 8, 8)


def _graph() -> ChannelGraph:
    layers = {"norm": nn.BatchNorm2d(8), "act": nn.PReLU(8), "deep": conv(8, 16, groups=8)}
    model = Between(lambda net, x: net.deep(net.act(net.norm(x.tanh()))), 16, **layers)
    return ChannelGraph.trace(shaken(model), _BATCH)


def test_layers_hold_only_the_kept_channels() -> None:
    graph = _graph()
    bits = torch.ones(graph.layout.n_channels, dtype=torch.bool)
    bits[[0, 3, 5, 9]] = False  # three of the 8 tied channels, one of the last 6
    network = extract_network(graph, bits)
    shapes = {name: list(module.weight.shape) for name, module in network.named_children() if hasattr(module, "weight")}
    assert shapes == {"conv": [5, 3, 3, 3], "deep": [10, 1, 3, 3], "last": [5, 10, 3, 3], "fc": [4, 5]}
    assert network.deep.groups == 5
    assert network.norm.scale.shape == network.act.slope.shape == (5,)
    assert torch.equal(network.conv.weight, graph.network.conv.weight[[1, 2, 4, 6, 7]])


def test_extraction_leaves_the_graph_unchanged() -> None:
    graph = _graph()
    before = {name: value.clone() for name, value in graph.network.state_dict().items()}
    for row in random_bits(graph, 4, keep=0.4):
        extract_network(graph, row)
    after = graph.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_layers_that_lose_no_channel_share_their_weights() -> None:
    graph = _graph()
    network = extract_network(graph, torch.ones(graph.layout.n_channels, dtype=torch.bool))
    assert {p.data_ptr() for p in network.parameters()} == {p.data_ptr() for p in graph.network.parameters()}


def test_scales_become_part_of_the_weights_that_consume_the_channels() -> None:
    graph = _graph()
    bits = torch.ones(graph.layout.n_channels, dtype=torch.bool)
    bits[[0, 9]] = False
    scales = torch.ones(graph.layout.n_channels)
    scales[[1, 8]] = torch.tensor([3.0, -0.5])  # deep holds channel 1 twice, last channel 8
    network, before = extract_network(graph, bits, scales), graph.network
    assert torch.equal(network.conv.weight, before.conv.weight[1:])
    assert torch.equal(network.deep.weight, before.deep.weight[2:])
    kept = [0, 2, 3, 4, 5]
    assert torch.equal(network.last.weight[:, :2], before.last.weight[kept, 2:4] * 3)
    assert torch.equal(network.last.weight[:, 2:], before.last.weight[kept, 4:])
    assert torch.equal(network.fc.weight[:, 0], before.fc.weight[:, 0] * -0.5)
    assert torch.equal(network.fc.weight[:, 1:], before.fc.weight[:, 2:6])
    with pytest.raises(MaskError, match="maskable channels"):
        extract_network(graph, bits, scales[1:])


def test_earlier_extractions_do_not_change_later_results() -> None:
    graph, bits = _graph(), random_bits(_graph(), 1, keep=0.5)[0]
    with torch.no_grad():
        before = graph.network(_BATCH)
        extract_network(graph, torch.ones_like(bits))
        extract_network(graph, bits)
        assert torch.equal(graph.network(_BATCH), before)


def test_extraction_draws_no_random_numbers() -> None:
    graph = _graph()
    state = torch.get_rng_state()
    extract_network(graph, random_bits(graph, 1, keep=0.5)[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_bits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MaskError, match=r"has 14 maskable channels, not \[3\]"):
        extract_network(_graph(), torch.ones(3, dtype=torch.bool))
