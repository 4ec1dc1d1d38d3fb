"""Building a canonical graph node by node, running each node on an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from splitters.canonical.constants import Constant, ConstantNodes
from splitters.canonical.operations import OPERATIONS, ChannelRule
from splitters.errors import GraphError


class CanonicalBuilder:
    """A canonical graph under construction, and the value of each of its nodes for the example."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.constants: dict[str, Constant] = {}
        self.values: dict[fx.Node, Any] = {}
        self.sources: dict[fx.Node, str] = {}
        self.constant_nodes = ConstantNodes(self.values)
        self.module_calls: frozenset[str] = frozenset()
        self._weights: dict[str, list[Tensor]] = {}
        self.layer_path = ""  # the layer of the model whose forward is being rewritten

    def _emit(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> fx.Node:
        kwargs = kwargs or {}
        if OPERATIONS[name].rule is ChannelRule.REDUCE:
            args, kwargs = _behind_stack(args, kwargs)
        return self._call(OPERATIONS[name].function, args, kwargs)

    def _emit_operation(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, reads_alone: bool
    ) -> fx.Node:
        """Add an operation; a max pooling that alone reads a ReLU moves before it, where the ReLU has less to do.

        Both orders give the same values, bit for bit: ReLU is monotone, and padding never wins a maximum.
        """
        x = args[0]
        is_relu = isinstance(x, fx.Node) and x.target is OPERATIONS["relu"].function
        if name == "max_pool2d" and is_relu and reads_alone and not kwargs.get("return_indices"):
            return self._emit("relu", (self._emit(name, (x.args[0], *args[1:]), kwargs),))
        return self._emit(name, args, kwargs)

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> fx.Node:
        new = self.graph.call_function(function, args, dict(kwargs))
        real_args, real_kwargs = self._real((args, dict(kwargs)))
        return self._record(new, function(*real_args, **real_kwargs))

    def _record(self, node: fx.Node, value: Any) -> fx.Node:
        """Keep a new node's value, and the layer of the model that it belongs to."""
        self.values[node] = value
        node.meta["layer"] = self.layer_path
        return node

    def _real(self, args: Any) -> Any:
        return fx.map_arg(args, lambda node: self.values[node])

    def _constant(self, name: str, value: Any) -> Constant:
        """Return a parameter or buffer of the model as a constant."""
        if not isinstance(value, Tensor):
            raise GraphError(f"the model reads the attribute {name!r}, a {type(value).__name__}, in its forward.")
        return self.constants.setdefault(name, Constant(name, value.detach().clone()))

    def _store(self, constant: Constant) -> fx.Node:
        """Add a node that holds a constant; each use has a node of its own, which loses channels by itself."""
        node = self.graph.create_node("get_attr", "pending", name=constant.name.replace(".", "_"))
        node.target = node.name
        self.root.register_buffer(node.name, constant.value.clone())
        self.sources[node] = constant.name
        return self._record(node, self.root.get_buffer(node.name))

    def _folded(self, new: fx.Node) -> Any:
        """Return the constant that a node holds, if no image reaches it; else the node."""
        value = self.values.get(new) if isinstance(new, fx.Node) else None
        if not isinstance(value, Tensor) or new not in self.constant_nodes:
            return new
        stored = [source for source in new.all_input_nodes if source.op == "get_attr"]
        largest = max(stored, key=lambda source: self.values[source].numel(), default=new)
        return Constant(self.sources.get(largest, new.name), value)

    def _store_all(self, args: Any) -> Any:
        """Replace the constants among arguments by nodes that hold them."""
        return map_aggregate(args, lambda part: self._store(part) if isinstance(part, Constant) else part)

    def _weight_source(self, weight: fx.Node) -> str:
        """Return the name of the layer that a stored weight makes: the same name for equal weights only."""
        name = self.sources[weight]
        owner = name.removesuffix(".weight")
        name = name if owner in self.module_calls else owner
        known = self._weights.setdefault(name, [])
        value = self.values[weight]
        number = next((number for number, other in enumerate(known) if torch.equal(other, value)), len(known))
        if number == len(known):
            known.append(value)
        return f"{name}_{number}" if number else name

    def _layer(self, module: nn.Module, x: fx.Node, source: str) -> fx.Node:
        """Add a layer; each call in the graph gets a layer of its own."""
        node = self.graph.create_node("call_module", "pending", (x,), name=source.replace(".", "_") or "layer")
        node.target = node.name
        self.root.add_module(node.name, module)
        self.sources[node] = source
        return self._record(node, module(self.values[x]))

    def _stored(self, node: Any) -> Tensor | None:
        value = self.values[node] if isinstance(node, fx.Node) and node.op == "get_attr" else None
        return value if isinstance(value, Tensor) else None


def _behind_stack(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments of a reduction, which reads a stack of tensors before its first two axes are exchanged."""
    named = {**dict(zip(("x", "dim", "keepdim"), args, strict=False)), **kwargs}
    x = named.pop("x")
    is_stack = isinstance(x, fx.Node) and x.target is torch.transpose and x.args[1:] == (0, 1)
    if not is_stack or named.get("dim") not in (0, (0,), [0]) or named.get("keepdim"):
        return args, kwargs
    return (x.args[0], 1), {name: value for name, value in named.items() if name not in ("dim", "keepdim")}
