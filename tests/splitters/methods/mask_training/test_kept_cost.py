"""Costs as functions of masks: those of the modules that are cut by the masks."""

import pytest
import torch
from exactness import images, random_bits
from small_nets import BETWEEN, Between, Case

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.mask_training.kept_cost import KeptCost
from splitters.networks.cost import base_cost, network_cost
from splitters.networks.extraction import extract_network
from splitters.testing import tiny_task

_BARE = set(Between(lambda net, x: x).state_dict())
_CASES = [case for case in BETWEEN if set(case.make().state_dict()) > _BARE]
"""Networks with further layers or stored tensors; what has none costs nothing."""


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_costs_are_those_of_the_extracted_networks(case: Case) -> None:
    graph = ChannelGraph.trace(case.make().eval(), images(2, 3, 8, 8))
    bits = random_bits(graph, 2, keep=0.5)
    whole = base_cost(graph)
    cut = [network_cost(extract_network(graph, row), graph.input_shape) for row in bits]
    for measure in ("flops", "parameters"):
        shares = KeptCost(graph, measure, torch.device("cpu"))(bits.float())
        expected = torch.tensor([getattr(cost, measure) / getattr(whole, measure) for cost in cut])
        torch.testing.assert_close(shares, expected)


def test_costs_have_gradients_by_what_a_channel_costs() -> None:
    graph = tiny_task().trace()
    bits = torch.ones(1, graph.layout.n_channels, requires_grad=True)
    KeptCost(graph, "flops", torch.device("cpu"))(bits).sum().backward()
    first = 2 * 64 * 27 + 2 * 16 * 9 * 8  # it makes a map of 8x8 from three colours; eight kernels read it on 4x4
    tied = 2 * 16 * 9 * (6 + 8 + 8) + 2 * 3  # made from 6 and 8 channels, read by 8 kernels and 3 logits
    assert bits.grad is not None
    expected = torch.tensor([[first] * 6 + [tied] * 8]) / base_cost(graph).flops
    torch.testing.assert_close(bits.grad, expected)
