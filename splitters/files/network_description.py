"""A canonical network as data: nodes over a whitelist of operations, and tensors by name."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, Convolution, convolution_of, in_channels_last, linear_of
from splitters.canonical.model_copy import first_line
from splitters.canonical.operations import OPERATIONS, ChannelAffine, ChannelPReLU, operation_of
from splitters.errors import GraphError, ModuleFileError
from splitters.graph.channel_graph import ChannelGraph
from splitters.settings import Settings


class LayerDescription(Settings):
    """The geometry of one layer; its tensors are stored as ``NODE.weight``, ``NODE.bias`` and so on."""

    kind: Literal["conv1d", "conv2d", "conv_transpose2d", "linear", "affine", "prelu"]
    stride: tuple[int] | tuple[int, int] = (1, 1)
    padding: str | tuple[int] | tuple[int, int] = (0, 0)
    dilation: tuple[int] | tuple[int, int] = (1, 1)
    groups: int = Field(default=1, ge=1)
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    output_padding: tuple[int, int] = (0, 0)

    @model_serializer(mode="wrap")
    def _omit_output_padding(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit what only transposed convolutions have, so that older versions can read all other layers."""
        transposed = self.kind == "conv_transpose2d"
        return {key: value for key, value in serialise(self).items() if transposed or key != "output_padding"}


_CONVOLUTIONS: dict[str, tuple[type[Convolution], int]] = {
    "conv1d": (nn.Conv1d, 3), "conv2d": (nn.Conv2d, 4), "conv_transpose2d": (nn.ConvTranspose2d, 4),
}  # fmt: skip
"""The types of convolutions, and how many axes their weights have."""


class NodeDescription(Settings):
    """One node: the images, a stored tensor, a layer, a call of an operation, or the output."""

    name: str = Field(pattern=r"^[A-Za-z_]\w{0,199}$")
    kind: Literal["images", "tensor", "layer", "call", "output"]
    operation: str | None = None
    layer: LayerDescription | None = None
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)


def describe_network(network: fx.GraphModule) -> tuple[list[NodeDescription], dict[str, Tensor]]:
    """Return a canonical network as nodes and tensors.

    Raises:
        ModuleFileError: If a node uses an operation or a layer that module files do not know.
    """
    nodes: list[NodeDescription] = []
    tensors: dict[str, Tensor] = {}
    for node in network.graph.nodes:
        args = [_encode(argument, node) for argument in node.args]
        kwargs = {key: _encode(value, node) for key, value in node.kwargs.items()}
        match node.op:
            case "placeholder":
                nodes.append(NodeDescription(name=node.name, kind="images"))
            case "output":
                nodes.append(NodeDescription(name=node.name, kind="output", args=args))
            case "get_attr":
                tensors[node.name] = getattr(network, str(node.target))
                nodes.append(NodeDescription(name=node.name, kind="tensor"))
            case "call_module":
                layer = network.get_submodule(str(node.target))
                described = _describe_layer(layer, node)
                tensors.update({f"{node.name}.{key}": value for key, value in layer.state_dict().items()})
                nodes.append(NodeDescription(name=node.name, kind="layer", layer=described, args=args))
            case _:
                operation = operation_of(node.target) if node.op == "call_function" else None
                if operation is None:
                    raise ModuleFileError(_unknown(node, str(getattr(node.target, "__name__", node.target))))
                nodes.append(
                    NodeDescription(name=node.name, kind="call", operation=operation.name, args=args, kwargs=kwargs)
                )
    return nodes, tensors


def check_storable(graph: ChannelGraph) -> None:
    """Check that modules of a network can be written to files, before any time is spent on finding them.

    Raises:
        GraphError: If not, with the layer, its operation, and what to use instead.
    """
    try:
        check_rebuilds(graph.network, graph.input_shape)
    except ModuleFileError as error:
        raise GraphError(f"no file could hold this network: {error}") from error


@torch.no_grad()
def check_rebuilds(network: fx.GraphModule, input_shape: tuple[int, int, int]) -> None:
    """Check that a network rebuilt from its description, as files are loaded, computes the same logits.

    Args:
        network: A canonical network.
        input_shape: Image channels, height and width.

    Raises:
        ModuleFileError: If it does not, or if no file can hold the network.
    """
    nodes, tensors = describe_network(network)
    like = next(iter([*network.parameters(), *network.buffers()]), torch.empty(0))
    image = torch.linspace(-1, 1, math.prod(input_shape), device=like.device, dtype=like.dtype).view(1, *input_shape)
    expected = network(image)
    try:
        stored = [NodeDescription.model_validate_json(node.model_dump_json()) for node in nodes]
        logits = build_network(stored, tensors)(image)
    except Exception as error:
        raise ModuleFileError(f"it cannot be rebuilt from its description: {first_line(error)}") from error
    if not torch.allclose(expected, logits, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ModuleFileError("rebuilt from its description, it computes other logits.")


def build_network(nodes: Sequence[NodeDescription], tensors: Mapping[str, Tensor]) -> fx.GraphModule:
    """Rebuild a network from nodes and tensors; only operations of the whitelist can be called.

    Raises:
        ModuleFileError: If a node names an unknown operation, reads a node that does not precede it, or lacks a
            tensor, or if the nodes do not lead from one input to one output.
    """
    _check_order(nodes)
    graph, root = fx.Graph(), nn.Module()
    built: dict[str, fx.Node] = {}
    for description in nodes:
        args = tuple(_decode(argument, built) for argument in description.args)
        kwargs = {_keyword(key): _decode(value, built) for key, value in description.kwargs.items()}
        name = description.name
        match description.kind:
            case "images":
                new = graph.placeholder("images")
            case "output":
                if len(args) != 1 or not isinstance(args[0], fx.Node):
                    raise ModuleFileError(f"the output {name!r} must be the value of one node, not {args!r}.")
                new = graph.output(args[0])
            case "tensor":
                # The prefix keeps names in files from clashing with attributes of torch.nn.Module.
                root.register_buffer(f"tensor_{name}", _tensor(tensors, name))
                new = graph.create_node("get_attr", f"tensor_{name}", name=name)
            case "layer":
                if description.layer is None:
                    raise ModuleFileError(f"node {name!r} is a layer without a description.")
                root.add_module(f"layer_{name}", _build_layer(description.layer, name, tensors))
                new = graph.create_node("call_module", f"layer_{name}", args, kwargs, name=name)
            case "call":
                operation = OPERATIONS.get(str(description.operation))
                if operation is None:
                    raise ModuleFileError(
                        f"node {name!r} calls {description.operation!r}, which is no known operation."
                    )
                new = graph.call_function(operation.function, args, kwargs)
        built[name] = new
    network = fx.GraphModule(root, graph, class_name="ExtractedNetwork")
    return in_channels_last(network).eval()


def _check_order(nodes: Sequence[NodeDescription]) -> None:
    kinds = [node.kind for node in nodes]
    ends = (kinds[0], kinds[-1]) if kinds else ()
    if ends != ("images", "output") or kinds.count("images") != 1 or kinds.count("output") != 1:
        raise ModuleFileError(
            f"the nodes must lead from one input to one output; they are {', '.join(kinds) or 'none'}."
        )
    names = {node.name for node in nodes}
    if len(names) != len(nodes) or "self" in names:
        raise ModuleFileError("two nodes have the same name, or one is called 'self'.")


def _describe_layer(layer: nn.Module, node: fx.Node) -> LayerDescription:
    if isinstance(layer, CONVOLUTIONS):
        return LayerDescription(
            kind=next(kind for kind, (cls, _) in _CONVOLUTIONS.items() if isinstance(layer, cls)),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            padding_mode=layer.padding_mode,
            output_padding=layer.output_padding if isinstance(layer, nn.ConvTranspose2d) else (0, 0),
        )
    if isinstance(layer, nn.Linear):
        return LayerDescription(kind="linear")
    if isinstance(layer, ChannelAffine):
        return LayerDescription(kind="affine")
    if isinstance(layer, ChannelPReLU):
        return LayerDescription(kind="prelu")
    raise ModuleFileError(_unknown(node, layer._get_name()))


def _build_layer(layer: LayerDescription, name: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    if layer.kind == "affine":
        return ChannelAffine(_tensor(tensors, f"{name}.scale"), _tensor(tensors, f"{name}.shift"))
    if layer.kind == "prelu":
        return ChannelPReLU(_tensor(tensors, f"{name}.slope"))
    weight, bias = _tensor(tensors, f"{name}.weight"), tensors.get(f"{name}.bias")
    cls, axes = _CONVOLUTIONS.get(layer.kind, (None, 2))
    if weight.dim() != axes:
        raise ModuleFileError(f"the layer {name!r} has weights of shape {list(weight.shape)}; {axes} axes are needed.")
    if cls is None:
        return linear_of(weight, bias)
    geometry: dict[str, Any] = layer.model_dump(include={"stride", "padding", "dilation", "padding_mode"})
    if layer.kind == "conv_transpose2d":
        geometry["output_padding"] = layer.output_padding
    like = cls(1, 1, tuple(weight.shape[2:]), **geometry, device="meta")  # type: ignore[arg-type]
    return convolution_of(weight, bias, like=like, groups=layer.groups)


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ModuleFileError(f"the tensor {name!r} is missing.")
    return tensors[name]


def _encode(value: Any, node: fx.Node) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, (tuple, list)):
        return [_encode(part, node) for part in value]
    if isinstance(value, slice):
        return {"slice": [_encode(part, node) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModuleFileError(f"node {node.name!r} has an argument of type {type(value).__name__}, which no file can hold.")


def _decode(value: Any, built: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(part, built) for part in value)
    if isinstance(value, dict):
        if set(value) == {"slice"}:
            return slice(*(_decode(part, built) for part in value["slice"]))
        if set(value) == {"number"}:
            return float(value["number"])
        if set(value) == {"node"} and value["node"] in built:
            return built[value["node"]]
        raise ModuleFileError(f"an argument {value!r} names no earlier node.")
    return value


def _keyword(name: str) -> str:
    if not re.fullmatch(r"[a-z_]\w{0,49}", name, re.ASCII) or keyword.iskeyword(name):
        raise ModuleFileError(f"{name!r} is no name of an argument.")
    return name


def _unknown(node: fx.Node, operation: str) -> str:
    path = node.meta.get("layer", "")
    layer = f" in layer {path!r}" if path else ""
    return (
        f"the network calls {operation!r} (node {node.name!r}{layer}), which module files do not know; "
        f"write it with operations that they know: {', '.join(sorted(OPERATIONS))}."
    )
