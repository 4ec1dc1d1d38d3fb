"""Extraction of a module's physically small network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, convolution_of, in_channels_last, linear_of
from splitters.canonical.operations import ChannelAffine, ChannelPReLU, operation_of
from splitters.errors import MaskError
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT


def extract_network(
    graph: ChannelGraph, bits: Bool[Tensor, " channel"], scales: Float[Tensor, " channel"] | None = None
) -> fx.GraphModule:
    """Return the network that keeps only some channels, with the others physically removed.

    Layers that lose no channel and read none that is scaled share their weights with the graph.

    Args:
        graph: The CNN.
        bits: True where a maskable channel is kept; at least one of each required set.
        scales: The factor of each channel wherever it is consumed, which the consuming layers' weights take up.

    Raises:
        MaskError: If bits or scales do not fit the graph.
    """
    for values in (bits,) if scales is None else (bits, scales):
        if values.shape != (graph.layout.n_channels,):
            raise MaskError(f"this network has {graph.layout.n_channels} maskable channels, not {list(values.shape)}.")
    slicer = LayerSlicer(graph, bits.bool().cpu(), None if scales is None else scales.cpu())
    root = nn.Module()
    new_graph = fx.Graph()
    renamed: dict[fx.Node, fx.Node] = {}
    for node in graph.network.graph.nodes:
        if node.op == "call_module":
            root.add_module(str(node.target), slicer.module(node))
        elif node.op == "get_attr":
            root.register_buffer(str(node.target), slicer.constant(node))
        renamed[node] = new_graph.node_copy(node, lambda source: renamed[source])
        renamed[node].args = fx.map_arg(slicer.arguments(node), lambda source: renamed[source])
    network = fx.GraphModule(root, new_graph, class_name="ExtractedNetwork")
    return in_channels_last(network).eval()


class LayerSlicer:
    """Slices single layers of a CNN to the channels that a mask keeps.

    Args:
        graph: The CNN.
        bits: True where a maskable channel is kept, on the CPU; at least one of each required set.
        scales: The factor of each maskable channel wherever it is consumed, on the CPU; None for 1.
    """

    def __init__(
        self, graph: ChannelGraph, bits: Bool[Tensor, " channel"], scales: Float[Tensor, " channel"] | None = None
    ) -> None:
        self.graph = graph
        self._scales = scales
        self.kept_or_always = torch.cat([bits, torch.ones(1, dtype=torch.bool)])

    def arguments(self, node: fx.Node) -> tuple[Any, ...]:
        """Return a node's arguments, with channel positions and sizes adjusted to the kept channels."""
        operation = operation_of(node.target) if node.op == "call_function" else None
        adjust = getattr(self, f"_arguments_of_{operation.name}", None) if operation else None
        return node.args if adjust is None else adjust(node, *node.args)

    def _arguments_of_split(self, node: fx.Node, x: fx.Node, sizes: Sequence[int], dim: int) -> tuple[Any, ...]:
        kept = self._kept_along(x, dim)
        return (x, sizes if kept is None else tuple(int(part.sum()) for part in kept.split(list(sizes))), dim)

    def _arguments_of_narrow(self, node: fx.Node, x: fx.Node, dim: int, start: int, length: int) -> tuple[Any, ...]:
        kept = self._kept_along(x, dim)
        if kept is None:
            return x, dim, start, length
        return x, dim, int(kept[:start].sum()), int(kept[start : start + length].sum())

    def _arguments_of_group_norm(self, node: fx.Node, x: fx.Node, groups: int, *rest: Any) -> tuple[Any, ...]:
        kept = self._kept_along(x, 1)
        return (x, groups if kept is None else int(kept.view(groups, -1)[:, 0].sum()), *rest)

    def _arguments_of_pad(self, node: fx.Node, x: fx.Node, amounts: Sequence[int], *rest: Any) -> tuple[Any, ...]:
        if not any(amounts[4:6]):
            return x, amounts, *rest
        before, after = amounts[4:6]
        kept, kept_before = self._kept_along(node, 1), self._kept_along(x, 1)
        if kept is not None:
            before = int(kept[:before].sum()) if before > 0 else before
            after = int(kept[len(kept) - after :].sum()) if after > 0 else after
        if kept_before is not None:
            before = -int(kept_before[:-before].sum()) if before < 0 else before
            after = -int(kept_before[after:].sum()) if after < 0 else after
        return x, (*amounts[:4], before, after, *amounts[6:]), *rest

    def _arguments_of_reshape(self, node: fx.Node, x: fx.Node, sizes: Any) -> tuple[Any, ...]:
        """Replace a channel count that is written as a literal."""
        held = self.graph.channels_at(node)
        size = None if held is None or not isinstance(sizes, tuple) else sizes[held.axis]
        if held is None or not isinstance(size, int) or size == -1:
            return x, sizes
        return x, (*sizes[: held.axis], int(self._kept(held.channels).sum()), *sizes[held.axis + 1 :])

    _arguments_of_expand = _arguments_of_reshape

    def _kept_along(self, node: fx.Node, axis: int) -> Tensor | None:
        """Return which positions along an axis are kept, or None if it is not the axis of maskable channels."""
        held = self.graph.channels_at(node)
        return self._kept(held.channels) if held is not None and held.axis == axis else None

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

    def constant(self, node: fx.Node) -> Tensor:
        """Return a stored tensor with the kept channels; the original tensor if it loses none."""
        tensor = self.graph.network.get_buffer(str(node.target))
        held, positions = self.graph.channels_at(node), self._positions(node)
        return tensor if held is None else _take(tensor, positions, held.axis)

    def module(self, node: fx.Node) -> nn.Module:
        """Return a node's layer with the kept channels, its inputs scaled; the original layer if nothing changes."""
        module = self.graph.network.get_submodule(str(node.target))
        if not isinstance(module, (*CONVOLUTIONS, nn.Linear, ChannelAffine, ChannelPReLU)):
            return module
        inputs, outputs = self._positions(node.all_input_nodes[0]), self._positions(node)
        scales = self._input_scales(node)
        if inputs is None and outputs is None and scales is None:
            return module
        if isinstance(module, ChannelAffine):
            return ChannelAffine(_take(module.scale, outputs, 0), _take(module.shift, outputs, 0))
        if isinstance(module, ChannelPReLU):
            return ChannelPReLU(_take(module.slope, outputs, 0))
        bias = None if module.bias is None else _take(module.bias, outputs, 0)
        if isinstance(module, nn.Linear):
            weight = module.weight if scales is None else module.weight * scales
            return linear_of(_take(_take(weight, outputs, 0), inputs, 1), bias)
        transposed = isinstance(module, nn.ConvTranspose2d)
        if module.groups == 1:
            input_axis, output_axis = (0, 1) if transposed else (1, 0)
            weight = module.weight
            if scales is not None:
                weight = weight * scales.view(*(-1 if axis == input_axis else 1 for axis in range(weight.dim())))
            weight = _take(_take(weight, outputs, output_axis), inputs, input_axis)
            return convolution_of(weight, bias, like=module, groups=1)
        # Groups are kept or dropped whole, so that the axis along which they lie shrinks alone.
        weight = _take(module.weight, inputs if transposed else outputs, 0)
        return convolution_of(weight, bias, like=module, groups=len(weight) * module.groups // len(module.weight))

    def _input_scales(self, node: fx.Node) -> Tensor | None:
        """Return the factor of each channel that a node consumes, or None if it consumes none that is scaled.

        Convolutions with groups consume no channels: they pass on those of their inputs.
        """
        if self._scales is None or node not in self.graph.consumers:
            return None
        held = self.graph.channels_at(node.all_input_nodes[0])
        if held is None:
            return None
        assert ALWAYS_KEPT == -1, "channels that are always kept read the last entry"
        scales = torch.cat([self._scales, self._scales.new_ones(1)])[held.channels]
        return scales.to(next(self.graph.network.parameters()).device)


def _take(tensor: Tensor, positions: Tensor | None, axis: int) -> Tensor:
    return tensor.detach() if positions is None else tensor.detach().index_select(axis, positions.to(tensor.device))
