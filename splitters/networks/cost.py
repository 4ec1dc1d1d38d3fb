"""What a network costs: floating-point operations for one image, and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from splitters.graph.channel_graph import ChannelGraph


@dataclass(frozen=True)
class Cost:
    """What one network costs.

    Args:
        flops: Floating-point operations for one image, as torch's flop counter counts them: two per
            multiply-and-add of convolutions and matrix products.
        parameters: Numbers in its weights and biases.
    """

    flops: int
    parameters: int

    def __add__(self, other: Cost) -> Cost:
        """Returns the cost of both."""
        return Cost(self.flops + other.flops, self.parameters + other.parameters)


def network_cost(network: nn.Module, input_shape: tuple[int, int, int]) -> Cost:
    """Counts a network's cost.

    Args:
        network: Any network of images.
        input_shape: Image channels, height and width.
    """
    tensors = [*network.parameters(), *network.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, *input_shape, device=device))
    return Cost(int(counter.get_total_flops()), sum(tensor.numel() for tensor in tensors))


def base_cost(graph: ChannelGraph) -> Cost:
    """Counts the cost of the whole base model, in the form in which modules are cut from it (batch norms folded)."""
    return network_cost(graph.network, graph.input_shape)
