"""Building a canonical graph node by node, running each node on an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from splitters.canonical.operations import OPERATIONS
from splitters.errors import GraphError


class CanonicalBuilder:
    """A canonical graph under construction, and the value of each of its nodes for the example."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.constants: dict[str, fx.Node] = {}
        self.values: dict[fx.Node, Any] = {}
        self.sources: dict[fx.Node, str] = {}
        self.layer_path = ""  # the layer of the model whose forward is being rewritten

    def _emit(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> fx.Node:
        return self._call(OPERATIONS[name].function, args, kwargs or {})

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

    def _constant(self, name: str, value: Any) -> fx.Node:
        if not isinstance(value, Tensor):
            raise GraphError(f"the model reads the attribute {name!r}, a {type(value).__name__}, in its forward.")
        if name not in self.constants:
            new = self.graph.create_node("get_attr", "pending", name=name.replace(".", "_"))
            new.target = new.name
            self.root.register_buffer(new.name, value.detach().clone())
            self.constants[name] = self._record(new, value)
        return self.constants[name]

    def _layer(self, module: nn.Module, x: fx.Node, source: str) -> fx.Node:
        """Add a layer; each call in the graph gets a layer of its own."""
        node = self.graph.create_node("call_module", "pending", (x,), name=source.replace(".", "_") or "layer")
        node.target = node.name
        self.root.add_module(node.name, module)
        self.sources[node] = source
        return self._record(node, module(self.values[x]))
