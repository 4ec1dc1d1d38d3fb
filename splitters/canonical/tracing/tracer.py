"""Tracing a model by ``torch.fx``, with control flow over sizes decided by the numbers that an example gives.

A module's input shape is fixed, so ``if x.shape[-1] > 16`` always takes the same branch. Sizes that are only passed on
stay symbolic, because channel counts shrink in a module and the number of images varies. Python sees a number where it
needs one (``if``, ``assert``, ``for``, ``int()``, ``range()``, an index), and only one that is the same for any number
of images and that no pixel determines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from splitters.canonical.layers import plain_kind
from splitters.canonical.model_copy import first_line
from splitters.canonical.tracing.example_run import ExampleRun
from splitters.canonical.tracing.replacements import (
    compiled_functions_called_directly,
    traced_builtins,
    traced_kernels,
    traced_torch,
    unchecked_shapes,
)
from splitters.canonical.tracing.state import restored_state
from splitters.canonical.tracing.values import CONSTANT_CALLS, CONSTANTS, NumberReader, Value
from splitters.errors import GraphError

_SIZES = frozenset({"shape", "size", "numel", "nelement", "stride", "len"}) | CONSTANTS | CONSTANT_CALLS
"""Attributes, methods and functions of tensors that no pixel determines."""


def trace_model(model: nn.Module, example: Tensor) -> fx.Graph:
    """Trace a model.

    Args:
        model: A frozen copy in eval mode.
        example: Two images.

    Raises:
        GraphError: If it cannot be traced, with the layer and the cause in one line.
    """
    tracer = _ExampleTracer(example)
    try:
        with (
            restored_state(model),
            traced_builtins(model),
            traced_torch(tracer),
            traced_kernels(),
            compiled_functions_called_directly(),
            unchecked_shapes(),
        ):
            return tracer.trace(model)
    except Exception as error:
        # torch's functions answer a number that was refused with an error of their own.
        refusal = error if isinstance(error, GraphError) else tracer.refusal
        cause = str(refusal) if refusal else first_line(error)
        if f"found type '{Value.__name__}'" in str(error):
            cause = "its forward calls a TorchScript function; call the Python function that it was made from."
        raise GraphError(f"{type(model).__name__} cannot be traced by torch.fx: {tracer.where()}{cause}") from error


class _ExampleTracer(NumberReader):
    """Records a graph, and runs as much of it on examples as Python needs numbers from."""

    proxy_buffer_attributes = True

    def __init__(self, example: Tensor) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self._runs = [ExampleRun(example), ExampleRun(torch.cat([example, example[:1]]))]
        self.refusal: GraphError | None = None  # why Python could not have a number
        self._is_running = False
        self._layers: list[tuple[str, nn.Module]] = []
        self._made: set[nn.Module] = set()  # in a forward; their settings may be traced sizes

    def where(self) -> str:
        """Return the innermost layer in which tracing stopped, for messages."""
        return "".join(f"in layer {name!r} ({type(module).__name__}): " for name, module in self._layers[-1:])

    # What torch.fx calls

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Give the model images only; its other arguments take their defaults."""
        if "forward" in vars(self.root):  # it was replaced on the model
            root_fn = type(self.root).__call__
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if "forward" in vars(m) or m in self._made:
            return False
        return super().is_leaf_module(m, module_qualified_name) or plain_kind(m) is not None

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._is_running:
            return forward(*args, **kwargs)
        if m not in self.submodule_paths:  # type: ignore[operator]
            self.root.add_module(f"made_in_forward_{len(self._made)}", m)
            self.submodule_paths = {module: name for name, module in self.root.named_modules()}
            self._made.update(m.modules())
        self._layers.append((self.path_of_module(m), m))
        result = super().call_module(m, forward, args, kwargs)
        self._layers.pop()  # not in a ``finally``: where tracing stopped is read afterwards
        return result

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._is_running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        device = self._runs[0].images.device.type
        if torch.is_autocast_enabled(device) and not self._is_running:
            raise GraphError(
                f"its forward turns autocast on, whose lower precision no module has; turn it off in eval mode "
                f"(torch.autocast({device!r}, enabled=self.training))."
            )
        return super().create_node(kind, *args, **kwargs)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, np.generic):
            a = a.item()
        elif isinstance(a, np.ndarray):
            a = torch.from_numpy(a)
        elif isinstance(a, nn.Parameter) and all(a is not parameter for parameter in self.root.parameters()):
            a = a.detach()  # held by a closure, so a constant of the traced model
        return super().create_arg(a)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Value(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.number(obj, "branches"))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        return (obj[index] for index in range(self.length(obj)))  # type: ignore[index]

    # Numbers

    def length(self, proxy: fx.Proxy) -> int:
        lengths = {len(value) for value in self._values(proxy.node)}
        if len(lengths) > 1:
            raise GraphError(
                "its forward loops over the images of a batch, or takes their number by len() (x.size(0) can be "
                "followed); each image must be computed alike."
            )
        return lengths.pop()

    def number(self, proxy: fx.Proxy, action: str) -> Any:
        first, second = self._values(proxy.node)
        if self._reads_pixels(proxy.node):
            self.refusal = GraphError(
                f"its forward {action} on values of tensors (node {proxy.node.name!r}), which differ between images; "
                "use torch.where, or move such code out of the model."
            )
        elif not np.array_equal(first, second):
            self.refusal = GraphError(
                f"its forward {action} on the number of images (node {proxy.node.name!r}); each image must be computed "
                "alike, in a batch of any size. Constants of that many images are made by x.new_zeros or x.expand."
            )
        else:
            return first
        raise self.refusal

    def constant(self, proxy: fx.Proxy) -> Any:
        return self._values(proxy.node)[0]

    def _values(self, node: fx.Node) -> tuple[Any, Any]:
        self._is_running = True
        try:
            with torch.no_grad():
                first, second = (run.value(self.root, node) for run in self._runs)
        finally:
            self._is_running = False
        return first, second

    def _reads_pixels(self, node: fx.Node) -> bool:
        """Return whether a value depends on what the images show, not only on their sizes."""
        values = self._runs[0].values
        if isinstance(values[node], Tensor):
            return _comes_from_images(node)
        for current in _with_ancestors(node, lambda source: not isinstance(values[source], Tensor)):
            tensors = [source for source in current.all_input_nodes if isinstance(values[source], Tensor)]
            if not _reads_sizes(current) and any(map(_comes_from_images, tensors)):
                return True
        return False


def _reads_sizes(node: fx.Node) -> bool:
    """Return whether a node reads of tensors only what no pixel determines."""
    name = node.args[1] if node.target is getattr else getattr(node.target, "__name__", node.target)
    return name in _SIZES


def _comes_from_images(node: fx.Node) -> bool:
    return any(current.op == "placeholder" for current in _with_ancestors(node, lambda source: True))


def _with_ancestors(node: fx.Node, follows: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """Return a node and all nodes that its value was computed from, through nodes that are followed."""
    seen, pending = {node}, [node]
    while pending:
        sources = [source for source in pending.pop().all_input_nodes if source not in seen and follows(source)]
        seen.update(sources)
        pending.extend(sources)
    return seen
