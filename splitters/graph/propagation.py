"""Propagation of channel ids through a canonical graph, node by node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, Convolution
from splitters.canonical.model_copy import first_line
from splitters.canonical.operations import ChannelAffine, ChannelPReLU, ChannelRule, operation_of
from splitters.errors import GraphError
from splitters.graph.channel_ids import FIXED, along, spread, varying_axes
from splitters.graph.node_ids import NodeIds


@dataclass(frozen=True)
class Producer:
    """A layer that produces channels, however often it is called.

    Args:
        name: Its qualified name in the model.
        is_convolution: Whether its outputs are kernels.
        outputs: The id of each output channel.
        inputs: The id of each input channel at the first call.
    """

    name: str
    is_convolution: bool
    outputs: Tensor
    inputs: Tensor


class Propagation(NodeIds):
    """Computes the channel ids of every tensor of a canonical network.

    Args:
        network: The canonical network.
        values: The value of each node for an example.
        sources: The name in the model of each convolution and linear node.
    """

    def __init__(self, network: fx.GraphModule, values: dict[fx.Node, Any], sources: dict[fx.Node, str]) -> None:
        super().__init__(network, values)
        self.sources = sources
        self.producers: dict[str, Producer] = {}
        self.consumers: dict[fx.Node, Tensor] = {}
        for node in network.graph.nodes:
            try:
                self._visit(node)
            except Exception as error:
                where = f"node {node.name!r} ({self.operation_name(node)}) of layer {node.meta.get('layer', '')!r}"
                raise GraphError(f"{where}: its channels cannot be followed: {first_line(error)}") from error

    def _visit(self, node: fx.Node) -> None:
        match node.op:
            case "placeholder" | "get_attr":
                self._set_fixed(node)
            case "output":
                for source in node.all_input_nodes:
                    self.freeze(node, self.ids[source], "the model's own output")
            case "call_module":
                self._visit_module(node)
            case _:
                self._visit_call(node)

    def _visit_call(self, node: fx.Node) -> None:
        operation = operation_of(node.target) if node.op == "call_function" else None
        rule = operation.rule if operation else ChannelRule.MIX
        if rule in (ChannelRule.NUMBER, ChannelRule.SHAPE, ChannelRule.POINTWISE) and not self._has_tensor(node):
            self._visit_number(node)
            return
        match rule:
            case ChannelRule.POINTWISE | ChannelRule.NUMBER:
                self._pointwise(node)
            case ChannelRule.SPATIAL:
                self._spatial(node)
            case ChannelRule.SHAPE:
                self._shape(node)
            case ChannelRule.REDUCE:
                self._reduce(node)
            case ChannelRule.GROUPS:
                self._groups(node)
            case ChannelRule.MIX if self._mixes_other_axes(node):
                self.ids[node] = self.ids[node.all_input_nodes[0]]
            case _:
                self._mix(node)

    # Layers

    def _visit_module(self, node: fx.Node) -> None:
        module = self.network.get_submodule(str(node.target))
        if isinstance(module, CONVOLUTIONS):
            self._convolution(node, module)
        elif isinstance(module, nn.Linear):
            self._linear(node)
        elif isinstance(module, (ChannelAffine, ChannelPReLU)):
            x = self._only_along(node, node.all_input_nodes[0], 1)
            self.ids[node] = spread(x, self.values[node].shape, 1)
        else:
            self._mix(node)

    def _convolution(self, node: fx.Node, conv: Convolution) -> None:
        inputs = self._only_along(node, node.all_input_nodes[0], 1)
        outputs = self._produce(node, inputs, conv.out_channels, is_convolution=True)
        if conv.groups == 1:
            self.consumers[node] = inputs
        else:
            first = inputs.view(conv.groups, -1)[:, :1]
            for side in (inputs, outputs):
                self._tie(node, side.view(conv.groups, -1), first)
        self.ids[node] = spread(outputs, self.values[node].shape, 1)

    def _linear(self, node: fx.Node) -> None:
        axis = self.values[node].dim() - 1
        inputs = self._only_along(node, node.all_input_nodes[0], axis)
        outputs = self._produce(node, inputs, self.values[node].shape[axis], is_convolution=False)
        self.consumers[node] = inputs
        self.ids[node] = spread(outputs, self.values[node].shape, axis)

    def _produce(self, node: fx.Node, inputs: Tensor, count: int, *, is_convolution: bool) -> Tensor:
        """Return the ids that a layer produces; a repeated call produces the same ids and ties the inputs."""
        name = self.sources[node]
        known = self.producers.get(name)
        if known is not None and (len(known.outputs), len(known.inputs)) != (count, len(inputs)):
            # One weight serves two kinds of layers, as in tied encoders and decoders: those are two producers.
            name = self.sources[node] = f"{name} ({self.operation_name(node)})"
            known = self.producers.get(name)
        if known is not None:
            self._tie(node, known.inputs, inputs)
            return known.outputs
        outputs = self.channels.new(count)
        self.producers[name] = Producer(name, is_convolution, outputs, inputs)
        return outputs

    # Operations

    def _pointwise(self, node: fx.Node) -> None:
        self._freeze_taints(node)
        shape = self.values[node].shape
        operands = [source for source in node.all_input_nodes if isinstance(self.values[source], Tensor)]
        axes = {axis + len(shape) - self.ids[operand].dim() for operand in operands
                for axis in varying_axes(self.ids[operand])}  # fmt: skip
        kept: list[Tensor] = []
        for operand in operands:
            ids = self._constant_ids(operand, axes, len(shape)) if operand.op == "get_attr" else self.ids[operand]
            aligned = [1] * (len(shape) - ids.dim()) + list(ids.shape)
            if any(aligned[axis] == 1 and shape[axis] > 1 for axis in axes):
                self.freeze(node, ids, "is broadcast over the channels of another tensor")
            elif axes or bool((ids != FIXED).any()):
                kept.append(ids.expand(shape))
        for other in kept[1:]:
            self._tie(node, kept[0], other)
        self.ids[node] = kept[0] if kept else self._fixed(shape)

    def _constant_ids(self, constant: fx.Node, axes: set[int], dims: int) -> Tensor:
        """Give a stored tensor ids along the axis of the channels that it meets: it is dropped with them."""
        ids: Tensor = self.ids[constant]
        axis = next(iter(axes), dims) - (dims - ids.dim())
        if len(axes) == 1 and 0 <= axis < ids.dim() and ids.shape[axis] > 1 and not varying_axes(ids):
            ids = self.ids[constant] = spread(self.channels.new(ids.shape[axis]), ids.shape, axis)
        return ids

    def _expand_constant(self, node: fx.Node) -> None:
        """Give a stored tensor ids along the axis that is expanded to channels, or along axis 1 if it has no other."""
        constant, dims = node.all_input_nodes[0], self.values[node].dim()
        if constant.op != "get_attr":
            return
        if self.operation_name(node) == "expand_as":
            axes = set(varying_axes(self.ids[node.all_input_nodes[-1]]))
        else:
            axes = {axis for axis, counted in enumerate(self._counted(node.args[1])) if counted.numel()}
        shape = self.values[constant].shape
        only = {axis + dims - len(shape) for axis, size in enumerate(shape) if size > 1}
        self._constant_ids(constant, axes or (only if only == {1} else set()), dims)

    def _repeated_for_channels(self, node: fx.Node, result: Tensor) -> Tensor:
        """Give what is repeated for each channel of another tensor the ids of those channels, and freeze its own."""
        before, last = self.ids[node.all_input_nodes[0]], node.all_input_nodes[-1]
        if self.operation_name(node) == "expand_as":
            other = self.ids[last]
            varying = varying_axes(other)
            counts = [along(other, axis) if axis in varying else other[:0] for axis in range(other.dim())]
        else:
            counts = list(self._counted(node.args[1]))
        sizes = [1] * (result.dim() - before.dim()) + list(before.shape)
        for axis, counted in enumerate(counts):
            if sizes[axis] == 1 and len(counted) == result.shape[axis] > 1:
                self.freeze(node, before, "is broadcast over the channels of another tensor")
                return spread(counted, result.shape, axis)
        return result

    def _groups(self, node: fx.Node) -> None:
        x, groups = node.all_input_nodes[0], int(node.args[1])  # type: ignore[arg-type]
        if groups == 1:
            self._mix(node, reason="mixes channels: its only group holds all of them")
            return
        if len(node.all_input_nodes) > 1:
            self._mix(node, reason="its weights depend on the images")
            return
        self._freeze_taints(node)
        inputs = self._only_along(node, x, 1)
        self._tie(node, inputs.view(groups, -1), inputs.view(groups, -1)[:, :1])
        self.ids[node] = spread(inputs, self.values[node].shape, 1)

    def _pad_channels(self, node: fx.Node) -> bool:
        """Give ids to channels that a padding by a constant adds; return whether this is such a padding."""
        arguments: tuple[Any, ...] = (*node.args, None, None)
        _, amounts, mode = arguments[:3]
        if mode != "constant" or self.values[node].dim() != 4 or any(amounts[6:]):
            return False
        before, after = (int(amount) for amount in amounts[4:6])
        inputs = self._only_along(node, node.all_input_nodes[0], 1)
        kept = inputs[max(0, -before) : len(inputs) - max(0, -after)]
        padded = [self.channels.new(max(0, before)), kept, self.channels.new(max(0, after))]
        self.ids[node] = spread(torch.cat(padded), self.values[node].shape, 1)
        return True

    def _spatial(self, node: fx.Node) -> None:
        self._freeze_taints(node)
        if self._pads_channels(node) and self._pad_channels(node):
            return
        x, value = node.all_input_nodes[0], self.values[node]
        source = self.values[x]
        dims = {"1d": (3,), "2d": (4,)}.get(self.operation_name(node)[-2:], (3, 4))
        same_axes = isinstance(value, Tensor) and value.dim() == source.dim() and value.dim() in dims
        if not same_axes or value.shape[:2] != source.shape[:2] or self._pads_channels(node):
            self._mix(node, reason="changes the number of channels, or does not take [batch, channel, height, width]")
            return
        for other in node.all_input_nodes[1:]:
            for ids in self._tensors_of(other):
                self.freeze(node, ids, "is where each image is sampled")
        self.ids[node] = spread(self._only_along(node, x, 1), value.shape, 1)

    def _pads_channels(self, node: fx.Node) -> bool:
        """Return whether a padding moves channels, which their number alone does not show."""
        amounts = node.args[1] if len(node.args) > 1 else node.kwargs.get("pad")
        return (
            self.operation_name(node) == "pad"
            and isinstance(amounts, (tuple, list))
            and any(amounts[2 * self.values[node].dim() - 4 :])
        )

    def _shape(self, node: fx.Node) -> None:
        name = self.operation_name(node)
        special = {
            "index_select": self._index_select,
            "pixel_shuffle": self._pixel_shuffle,
            "pixel_unshuffle": self._pixel_unshuffle,
        }.get(name)
        if special is not None:
            special(node)
            return
        if name == "getitem" and self._picks_channels(node):
            self._mix(node, reason="picks channels by their position")
            return
        if name in ("expand", "expand_as"):
            self._expand_constant(node)
        function: Callable[..., Any] = node.target  # type: ignore[assignment]
        args, kwargs = fx.map_arg(
            (node.args, dict(node.kwargs)), lambda source: self.ids.get(source, self.values.get(source))
        )
        result = function(*args, **kwargs)
        if name in ("expand", "expand_as"):
            result = self._repeated_for_channels(node, result)
        for part in result if isinstance(result, (tuple, list)) else (result,):
            if 0 in varying_axes(part) and not _gives_only_sizes(node):
                self.freeze(node, part, "channels move into the batch axis")
        self.ids[node] = result
        if name in ("reshape", "expand"):
            self._check_sizes(node, result)
        elif name == "expand_as":
            self._tie(node, result, self.ids[node.all_input_nodes[-1]])

    def _pixel_shuffle(self, node: fx.Node) -> None:
        """Follow blocks of channels into height and width; each lives or dies whole."""
        arguments: tuple[Any, ...] = node.args
        x, factor = arguments
        blocks = self._only_along(node, x, 1).view(-1, factor * factor)
        self._tie(node, blocks, blocks[:, :1])
        self.ids[node] = spread(blocks[:, 0], self.values[node].shape, 1)

    def _pixel_unshuffle(self, node: fx.Node) -> None:
        arguments: tuple[Any, ...] = node.args
        x, factor = arguments
        inputs = self._only_along(node, x, 1)
        self.ids[node] = spread(inputs.repeat_interleave(factor * factor), self.values[node].shape, 1)

    def _index_select(self, node: fx.Node) -> None:
        arguments: tuple[Any, ...] = node.args
        x, dim, index = arguments
        ids = self.ids[x]
        if dim % ids.dim() in varying_axes(ids):
            self._mix(node, reason="picks channels by their position")
        else:
            self.ids[node] = ids.index_select(dim, self.values[index])

    def _picks_channels(self, node: fx.Node) -> bool:
        """Return whether an index selects some channels of a tensor other than by a plain slice."""
        source, index = node.args
        ids = self.ids.get(source) if isinstance(source, fx.Node) else None
        if not isinstance(ids, Tensor):
            return False
        parts = index if isinstance(index, tuple) else (index,)
        if all(type(part) is int for part in parts) and _gives_only_sizes(node):
            return False
        if not all(part is None or type(part) in (int, slice) for part in parts):
            return True
        by_axis = [part for part in parts if part is not None]
        return any(axis < len(by_axis) and by_axis[axis] != slice(None) for axis in varying_axes(ids))

    def _reduce(self, node: fx.Node) -> None:
        self._freeze_taints(node)
        x = node.all_input_nodes[0]
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        keep = bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False))
        ids = self.ids[x]
        if isinstance(dims, int):
            dims = (dims,)
        if not isinstance(dims, (tuple, list)) or not all(isinstance(dim, int) for dim in dims):
            self._mix(node, reason="sums over all axes")
            return
        axes = [dim % ids.dim() for dim in dims if isinstance(dim, int)]
        varying = {*varying_axes(ids)}
        if 0 in axes or (varying and varying <= {*axes}):
            self._mix(node, reason="sums over the channels")
            return
        for axis in varying.intersection(axes):  # branches that were stacked
            self._tie(node, ids.narrow(axis, 0, 1), ids)
        self.ids[node] = torch.amax(ids, dim=axes, keepdim=keep)

    def _mixes_other_axes(self, node: fx.Node) -> bool:
        """Return whether a node mixes the values along certain axes, none of which is that of the channels.

        Of channels along several axes, such as stacked branches, those that are mixed are tied.
        """
        x, name, arguments = node.all_input_nodes[0], self.operation_name(node), (*node.args, None, None, None)
        if name in ("layer_norm", "rms_norm"):
            axes: Any = range(-len(self._counted(arguments[1])), 0)
        elif name in ("softmax", "log_softmax", "cumsum", "normalize", "roll"):
            axes = arguments[2 if name in ("normalize", "roll") else 1]
            axes = node.kwargs.get("dim", node.kwargs.get("dims", 1 if name == "normalize" and axes is None else axes))
        else:
            return False
        axes = (axes,) if isinstance(axes, int) else axes
        if (
            node in self._taints
            or not isinstance(axes, (tuple, list, range))
            or not all(type(axis) is int for axis in axes)
        ):
            return False
        ids = self.ids[x]
        varying = {*varying_axes(ids)}
        mixed = varying.intersection(axis % ids.dim() for axis in axes)
        constant = all(not varying_axes(self.ids[other]) for other in node.all_input_nodes[1:] if other in self.ids)
        if not constant or (mixed and mixed == varying):
            return False
        for axis in mixed:
            self._tie(node, ids.narrow(axis, 0, 1), ids)
        return True

    def _mix(self, node: fx.Node, reason: str = "") -> None:
        operation = operation_of(node.target) if node.op == "call_function" else None
        default = "mixes channels" if operation else "an unknown operation"
        self._freeze_taints(node)
        for source in node.all_input_nodes:
            for ids in self._tensors_of(source):
                self.freeze(node, ids, reason or default)
        self._set_fixed(node)


def _gives_only_sizes(node: fx.Node) -> bool:
    """Return whether the network reads no value of a node, but only how many there are, as in ``x[0].shape``."""
    users = [(user, operation_of(user.target)) for user in node.users]
    return all(
        operation is not None
        and (operation.name == "size" or (operation.rule is ChannelRule.SHAPE and _gives_only_sizes(user)))
        for user, operation in users
    )
