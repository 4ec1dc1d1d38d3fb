"""What of a network modules can drop: layer by layer, and what keeps them from dropping more."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT, ChannelLayout
from splitters.networks.cost import Cost, base_cost, network_cost
from splitters.networks.extraction import extract_network


@dataclass(frozen=True)
class InspectedLayer:
    """One convolution.

    Args:
        name: Its name in the network.
        kernels: Its kernels.
        droppable: Kernels that a module may drop.
        flops: Its floating-point operations for one image.
        tied_to: Other convolutions, some of whose kernels live and die with some of its own.
    """

    name: str
    kernels: int
    droppable: int
    flops: int
    tied_to: tuple[str, ...]


@dataclass(frozen=True)
class FrozenLayers:
    """Kernels that no module can drop.

    Args:
        operation: What in the network keeps them.
        reason: Why.
        kernels: Kernels by convolution.
        flops: What these kernels cost for one image, in the whole network.
    """

    operation: str
    reason: str
    kernels: dict[str, int]
    flops: int


@dataclass(frozen=True)
class Inspection:
    """What of a network modules can drop.

    Args:
        name: The network.
        input_shape: Channels, height and width of its images.
        n_logits: Its logits.
        cost: What it costs.
        smallest: What the smallest module that any splitter could cut from it costs.
        layers: Its convolutions, in order.
        frozen: What keeps kernels in every module.
    """

    name: str
    input_shape: tuple[int, int, int]
    n_logits: int
    cost: Cost
    smallest: Cost
    layers: tuple[InspectedLayer, ...]
    frozen: tuple[FrozenLayers, ...]

    @property
    def kernels(self) -> int:
        """All kernels."""
        return sum(layer.kernels for layer in self.layers)

    @property
    def droppable_kernels(self) -> int:
        """Kernels that a module may drop."""
        return sum(layer.droppable for layer in self.layers)


def inspect_network(network: nn.Module, *, name: str, input_shape: tuple[int, int, int], n_logits: int) -> Inspection:
    """Return what of a network modules can drop.

    Args:
        network: A CNN, on the CPU.
        name: What it is called.
        input_shape: Channels, height and width of its images.
        n_logits: The number of its logits.

    Raises:
        GraphError: If it cannot be split at all.
    """
    image = torch.linspace(-1, 1, input_shape[0] * input_shape[1] * input_shape[2]).view(1, *input_shape)
    graph = ChannelGraph.trace(network, image)
    flops = _layer_flops(graph, image)
    layers = tuple(
        InspectedLayer(
            name=layer.name,
            kernels=layer.kernels,
            droppable=sum(channel != ALWAYS_KEPT for channel in layer.channels),
            flops=flops[layer.name],
            tied_to=_tied_to(graph.layout, index),
        )
        for index, layer in enumerate(graph.layout.layers)
    )
    per_kernel = {layer.name: layer.flops / layer.kernels for layer in layers}
    frozen = tuple(
        FrozenLayers(
            operation=f"{freeze.node} ({freeze.operation})",
            reason=freeze.reason,
            kernels=dict(freeze.layers),
            flops=round(sum(per_kernel[name] * count for name, count in freeze.layers)),
        )
        for freeze in graph.frozen
    )
    smallest = network_cost(extract_network(graph, _fewest_channels(graph.layout)), graph.input_shape)
    return Inspection(name, input_shape, n_logits, base_cost(graph), smallest, layers, frozen)


def _tied_to(layout: ChannelLayout, index: int) -> tuple[str, ...]:
    others = {other for group in layout.groups if index in group.layers for other in group.layers} - {index}
    return tuple(layout.layers[other].name for other in sorted(others))


def _fewest_channels(layout: ChannelLayout) -> Tensor:
    """Return a mask with one channel of every required set, and few besides."""
    bits = torch.zeros(layout.n_channels, dtype=torch.bool)
    for members in layout.required:
        if not bool(bits[list(members)].any()):
            bits[members[0]] = True
    return bits


class _Counting(fx.Interpreter):
    """Runs a network and counts each layer's operations."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.flops: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        if n.op == "call_module":
            self.flops[str(n.target)] += int(counter.get_total_flops())
        return result


@torch.no_grad()
def _layer_flops(graph: ChannelGraph, image: Tensor) -> Counter[str]:
    """Return the operations of each convolution, of all its calls together."""
    counting = _Counting(graph.network)
    counting.run(image)
    return Counter({name: sum(counting.flops[call] for call in calls) for name, calls in graph.targets.items()})
