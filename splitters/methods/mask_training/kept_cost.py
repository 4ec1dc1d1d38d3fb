"""What modules cost as a function of their masks, with gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, Convolution
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT


class KeptCost:
    """The FLOPs or parameters of modules, as shares of the base model's.

    A layer costs a constant times its kept inputs times its kept outputs, so that a channel costs more in a module that
    keeps many others.

    Args:
        graph: The base model's channel graph.
        measure: FLOPs of convolutions and linear layers, or parameters, as ``Cost`` counts them.
        device: Where the masks are.
    """

    def __init__(self, graph: ChannelGraph, measure: Literal["flops", "parameters"], device: torch.device) -> None:
        terms = list(_flops(graph) if measure == "flops" else _parameters(graph))
        inputs, outputs = (torch.stack(side).to(device) for side in zip(*terms, strict=True))
        whole = (inputs.sum(1) * outputs.sum(1)).sum()
        self._inputs, self._outputs = inputs / whole, outputs

    def __call__(self, bits: Float[Tensor, "module channel"]) -> Float[Tensor, " module"]:
        """Return each module's cost; 1 is the whole base model's."""
        kept = torch.cat([bits, bits.new_ones(len(bits), 1)], dim=1)
        return ((kept @ self._inputs.T) * (kept @ self._outputs.T)).sum(1)


_Term = tuple[Tensor, Tensor]
"""Two factors of a cost: what each channel adds to them where it is kept; in the last place, what is always kept."""


def _flops(graph: ChannelGraph) -> Iterator[_Term]:
    run = fx.Interpreter(graph.network, garbage_collect_values=False)
    with torch.no_grad():
        run.run(torch.zeros(1, *graph.input_shape, device=next(graph.network.parameters()).device))
    for node in graph.network.graph.find_nodes(op="call_module"):
        layer = graph.network.get_submodule(str(node.target))
        if isinstance(layer, nn.Linear):
            yield _weights(graph, node, layer, each=2 * run.env[node][..., 0].numel())
        elif isinstance(layer, CONVOLUTIONS):
            passed = node.all_input_nodes[0] if isinstance(layer, nn.ConvTranspose2d) else node
            yield _weights(graph, node, layer, each=2 * run.env[passed][:, 0].numel())


def _parameters(graph: ChannelGraph) -> Iterator[_Term]:
    for node in graph.network.graph.find_nodes(op="call_module"):
        layer = graph.network.get_submodule(str(node.target))
        if isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
            yield _weights(graph, node, layer, each=1)
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
            if name != "weight":  # a bias, scale, shift or slope: one number per output
                yield _along(graph, None, 1), _along(graph, node, len(tensor))
    for node in graph.network.graph.find_nodes(op="get_attr"):
        numbers, held = graph.network.get_buffer(str(node.target)).numel(), graph.channels_at(node)
        length = numbers if held is None else len(held.channels)
        yield _along(graph, None, 1) * (numbers / length), _along(graph, node, length)


def _weights(graph: ChannelGraph, node: fx.Node, layer: Convolution | nn.Linear, *, each: int) -> _Term:
    """Return the factors of a layer's number of weights, times ``each``."""
    weight = layer.weight
    transposed = isinstance(layer, nn.ConvTranspose2d)
    n_inputs, n_outputs = weight.shape[:2] if transposed else (weight.shape[1], weight.shape[0])
    inputs: fx.Node | None = node.all_input_nodes[0]
    outputs: fx.Node | None = node
    if getattr(layer, "groups", 1) > 1:
        # Groups are kept or dropped whole, so that the axis along which they lie shrinks alone.
        inputs, outputs = (inputs, None) if transposed else (None, outputs)
    numbers = each * math.prod(weight.shape[2:])
    return _along(graph, inputs, n_inputs) * numbers, _along(graph, outputs, n_outputs)


def _along(graph: ChannelGraph, node: fx.Node | None, length: int) -> Tensor:
    """Return how many of a tensor's ``length`` positions each maskable channel has; in the last place, the others."""
    counts = torch.zeros(graph.layout.n_channels + 1)
    held = None if node is None else graph.channels_at(node)
    assert ALWAYS_KEPT == -1, "channels that are always kept count in the last place"
    channels = torch.full((length,), ALWAYS_KEPT) if held is None else held.channels
    return counts.index_add(0, channels % len(counts), torch.ones(len(channels)))
