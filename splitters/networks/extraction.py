"""Extraction of a module's physically small network."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, convolution_of, in_channels_last, linear_of
from splitters.canonical.operations import ChannelAffine, ChannelPReLU
from splitters.errors import MaskError
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT


def extract_network(graph: ChannelGraph, bits: Bool[Tensor, " channel"]) -> fx.GraphModule:
    """Return the network that keeps only some channels, with the others physically removed.

    Layers that lose no channel share their weights with the graph.

    Args:
        graph: The CNN.
        bits: True where a maskable channel is kept; at least one of each required set.

    Raises:
        MaskError: If the bits do not fit the graph.
    """
    if bits.shape != (graph.layout.n_channels,):
        raise MaskError(f"this network has {graph.layout.n_channels} maskable channels, not {list(bits.shape)}.")
    slicer = LayerSlicer(graph, bits.bool().cpu())
    root = nn.Module()
    for name, buffer in graph.network.named_buffers(recurse=False):
        root.register_buffer(name, buffer)
    new_graph = fx.Graph()
    renamed: dict[fx.Node, fx.Node] = {}
    for node in graph.network.graph.nodes:
        if node.op == "call_module":
            root.add_module(str(node.target), slicer.module(node))
        renamed[node] = new_graph.node_copy(node, lambda source: renamed[source])
        renamed[node].args = fx.map_arg(slicer.arguments(node), lambda source: renamed[source])
    network = fx.GraphModule(root, new_graph, class_name="ExtractedNetwork")
    return in_channels_last(network).eval()


class LayerSlicer:
    """Slices single layers of a CNN to the channels that a mask keeps.

    Args:
        graph: The CNN.
        bits: True where a maskable channel is kept, on the CPU; at least one of each required set.
    """

    def __init__(self, graph: ChannelGraph, bits: Bool[Tensor, " channel"]) -> None:
        self.graph = graph
        self.kept_or_always = torch.cat([bits, torch.ones(1, dtype=torch.bool)])

    def arguments(self, node: fx.Node) -> tuple[Any, ...]:
        """Return a node's arguments, with channel positions and sizes adjusted to the kept channels."""
        name = getattr(node.target, "__name__", "")
        if node.op != "call_function" or name not in ("split", "narrow"):
            return node.args
        arguments: tuple[Any, ...] = node.args
        source, second, third = arguments[:3]
        held = self.graph.channels_at(source)
        dim = third if name == "split" else second
        if held is None or held.axis != dim:
            return arguments
        kept = self._kept(held.channels).long()
        if name == "split":
            return (source, tuple(int(part.sum()) for part in kept.split(list(second))), dim)
        start, length = third, arguments[3]
        return (source, dim, int(kept[:start].sum()), int(kept[start : start + length].sum()))

    def _kept(self, channels: Tensor) -> Tensor:
        assert ALWAYS_KEPT == -1, "channels that are always kept read the last entry"
        return self.kept_or_always[channels]

    def _positions(self, node: fx.Node) -> Tensor | None:
        """Return the kept positions along a tensor's channels, or None if all are kept."""
        held = self.graph.channels_at(node)
        if held is None:
            return None
        kept = self._kept(held.channels)
        return None if bool(kept.all()) else kept.nonzero().squeeze(1)

    def module(self, node: fx.Node) -> nn.Module:
        """Return a node's layer with the kept channels; the original layer if it loses none."""
        module = self.graph.network.get_submodule(str(node.target))
        if not isinstance(module, (*CONVOLUTIONS, nn.Linear, ChannelAffine, ChannelPReLU)):
            return module
        inputs, outputs = self._positions(node.all_input_nodes[0]), self._positions(node)
        if inputs is None and outputs is None:
            return module
        if isinstance(module, ChannelAffine):
            return ChannelAffine(_take(module.scale, outputs, 0), _take(module.shift, outputs, 0))
        if isinstance(module, ChannelPReLU):
            return ChannelPReLU(_take(module.slope, outputs, 0))
        bias = None if module.bias is None else _take(module.bias, outputs, 0)
        if isinstance(module, nn.Linear):
            return linear_of(_take(_take(module.weight, outputs, 0), inputs, 1), bias)
        transposed = isinstance(module, nn.ConvTranspose2d)
        if module.groups == 1:
            input_axis, output_axis = (0, 1) if transposed else (1, 0)
            weight = _take(_take(module.weight, outputs, output_axis), inputs, input_axis)
            return convolution_of(weight, bias, like=module, groups=1)
        # Groups are kept or dropped whole, so that the axis along which they lie shrinks alone.
        weight = _take(module.weight, inputs if transposed else outputs, 0)
        return convolution_of(weight, bias, like=module, groups=len(weight) * module.groups // len(module.weight))


def _take(tensor: Tensor, positions: Tensor | None, axis: int) -> Tensor:
    return tensor.detach() if positions is None else tensor.detach().index_select(axis, positions.to(tensor.device))
