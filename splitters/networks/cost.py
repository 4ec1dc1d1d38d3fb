"""The cost of a network: floating-point operations per image, and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitters.graph.channel_graph import ChannelGraph


@dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Args:
        flops: Floating-point operations per image as counted by torch: two per multiply-add of convolutions and matrix
            products.
        parameters: The number of weights and biases.
    """

    flops: int
    parameters: int

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.flops + other.flops, self.parameters + other.parameters)


def network_cost(network: nn.Module, input_shape: tuple[int, int, int]) -> Cost:
    """Measure a network's cost.

    Args:
        network: Any network that takes images.
        input_shape: Image channels, height and width.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, because importing it takes a quarter of a second

    device = next((tensor.device for tensor in _tensors(network)), torch.device("cpu"))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, *input_shape, device=device))
    return Cost(int(counter.get_total_flops()), count_parameters(network))


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights and biases."""
    return sum(tensor.numel() for tensor in _tensors(network))


def base_cost(graph: ChannelGraph) -> Cost:
    """Measure the cost of the whole base model with batch norms folded, as in its modules."""
    return network_cost(graph.network, graph.input_shape)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
