"""FLOPs and parameters, counted by hand for a tiny net."""

import torch
from exactness import images
from small_nets import conv
from torch import nn

from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.cost import Cost, base_cost, network_cost
from splitters.networks.extraction import extract_network


def _graph() -> ChannelGraph:
    model = nn.Sequential(
        conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    )  # fmt: skip
    return ChannelGraph.trace(model, images(1, 3, 8, 8))


def _by_hand(first: int, second: int) -> Cost:
    """Count a net that keeps this many kernels of its two convolutions, with norms folded into biases."""
    flops = 2 * 8 * 8 * 3 * 9 * first + 2 * 4 * 4 * first * second + 2 * second * 5
    parameters = (3 * 9 + 1) * first + (first + 1) * second + (second + 1) * 5
    return Cost(flops, parameters)


def test_base_cost_is_the_sum_over_layers() -> None:
    assert base_cost(_graph()) == _by_hand(4, 6)


def test_a_full_module_costs_what_the_base_costs() -> None:
    graph = _graph()
    network = extract_network(graph, torch.ones(graph.layout.n_channels, dtype=torch.bool))
    assert network_cost(network, graph.input_shape) == base_cost(graph)


def test_a_module_costs_what_it_keeps() -> None:
    graph = _graph()
    bits = torch.tensor([True, False, False, True, True, True, True, False, False, False])
    assert network_cost(extract_network(graph, bits), (3, 8, 8)) == _by_hand(2, 3)


def test_costs_add_up() -> None:
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)
