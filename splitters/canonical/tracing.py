"""Tracing a model by ``torch.fx``, with control flow over sizes decided by the numbers that an example gives.

A module's input shape is fixed, so ``if x.shape[-1] > 16`` always takes the same branch. Sizes that are only passed on
stay symbolic, because channel counts shrink in a module and the number of images varies. Python sees a number where it
needs one (``if``, ``assert``, ``for``, ``int()``, ``range()``, an index), and only one that is the same for any number
of images and that no pixel determines.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.fx.proxy import Attribute

from splitters.canonical.layers import plain_kind
from splitters.canonical.model_copy import first_line
from splitters.errors import GraphError

_CONSTANTS = frozenset({"ndim", "device", "dtype", "layout", "is_cuda", "is_sparse", "is_quantized", "requires_grad",
                        "is_mkldnn", "is_mps", "is_meta"})  # fmt: skip
"""Attributes of tensors that are constants of a traced network."""

_CONSTANT_CALLS = frozenset({"dim", "ndimension", "is_floating_point", "is_complex", "get_device", "element_size",
                             "is_contiguous"})  # fmt: skip
"""Methods of tensors whose results are constants of a traced network."""

_SIZES = frozenset({"shape", "size", "numel", "nelement", "stride", "len"}) | _CONSTANTS | _CONSTANT_CALLS
"""Attributes, methods and functions of tensors that no pixel determines."""

_FUNCTIONS_OF_SIZES = ("zeros", "ones", "empty")
_METHODS_OF_SIZES = ("expand", "repeat", "tile", "view", "reshape", "new_zeros", "new_ones")
"""Functions, and methods of tensors of no image, that take sizes one by one."""

_ORIGINALS = {name: getattr(torch, name) for name in (*_FUNCTIONS_OF_SIZES, "is_tensor", "tensor")}
"""The functions of torch that are replaced while a model is traced."""


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
        with _traced_builtins(model), _traced_torch(tracer), _compiled_functions_called_directly():
            return tracer.trace(model)
    except Exception as error:
        # torch's functions answer a number that was refused with an error of their own.
        refusal = error if isinstance(error, GraphError) else tracer.refusal
        cause = str(refusal) if refusal else first_line(error)
        if f"found type '{_Value.__name__}'" in str(error):
            cause = "its forward calls a TorchScript function; call the Python function that it was made from."
        raise GraphError(f"{type(model).__name__} cannot be traced by torch.fx: {tracer.where()}{cause}") from error


@contextmanager
def _traced_builtins(model: nn.Module) -> Iterator[None]:
    """Let ``len(x)`` stay symbolic and ``isinstance(x, Tensor)`` be true in the code of a model.

    Python's own ``len`` returns plain numbers only, and its ``isinstance`` knows a traced value as what records it.
    """

    def traced_len(value: Any) -> Any:
        return value.size(0) if isinstance(value, _Numbers) and value.is_instance(Tensor) else len(value)

    def traced_isinstance(value: Any, kinds: Any) -> bool:
        return value.is_instance(kinds) if isinstance(value, _Numbers) else isinstance(value, kinds)

    traced = {"len": traced_len, "isinstance": traced_isinstance}
    # A module may be known by several names: a script by __main__ and __mp_main__.
    spaces = {id(space): space for space in _namespaces(model)}.values()
    added = [(space, name) for space in spaces for name in traced if name not in space]
    for space, name in added:
        space[name] = traced[name]
    try:
        yield
    finally:
        for space, name in added:
            del space[name]


@contextmanager
def _traced_torch(tracer: _ExampleTracer) -> Iterator[None]:
    """Let torch take traced sizes that are given one by one, as in ``torch.zeros(x.size(0), 1)``, and know tensors.

    By itself, torch hands calls to proxies only where one of them is an argument that may be a tensor, or in a tuple.
    """

    def is_tensor(value: Any) -> bool:
        return value.is_instance(Tensor) if isinstance(value, _Numbers) else isinstance(value, Tensor)

    def tensor(data: Any, **settings: Any) -> Any:
        return _ORIGINALS["tensor"](map_aggregate(data, tracer.plain), **settings)

    def taking_sizes(kind: str, target: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            traced = any(isinstance(part, fx.Proxy) for part in (*args, *kwargs.values()))
            return tracer.create_proxy(kind, target, args, kwargs) if traced else function(*args, **kwargs)

        return call

    try:
        for function in (is_tensor, tensor):
            setattr(torch, function.__name__, function)
        for name in _FUNCTIONS_OF_SIZES:
            setattr(torch, name, taking_sizes("call_function", _ORIGINALS[name], _ORIGINALS[name]))
        for name in _METHODS_OF_SIZES:
            setattr(Tensor, name, taking_sizes("call_method", name, getattr(Tensor, name)))
        yield
    finally:
        for name, original in _ORIGINALS.items():
            setattr(torch, name, original)
        for name in _METHODS_OF_SIZES:
            if name in vars(Tensor):  # else it is inherited
                delattr(Tensor, name)


@contextmanager
def _compiled_functions_called_directly() -> Iterator[None]:
    """Let functions that ``torch.compile`` has decorated run as they are written."""
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None:  # nothing was compiled; the import takes seconds
        yield
        return
    with dynamo.config.patch(error_on_nested_fx_trace=False):
        yield


def _namespaces(model: nn.Module) -> list[dict[str, Any]]:
    """Return the globals of the files that a model may be written in: of its classes, their packages, their folders."""
    classes = {base for module in model.modules() for base in type(module).__mro__}
    not_the_models = {"torch", *sys.stdlib_module_names}
    files = {base.__module__ for base in classes if _package(base.__module__) not in not_the_models}
    packages = {_package(file) for file in files} - {__name__.partition(".")[0]}
    folders = {_folder(sys.modules.get(file)) for file in files if _package(file) in packages} - {None}
    return [
        vars(module)
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and (name in files or _package(name) in packages or ("." not in name and _folder(module) in folders))
    ]


def _package(file: str) -> str:
    return file.partition(".")[0]


def _folder(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return None if file is None else os.path.dirname(file)


class _ExampleTracer(fx.Tracer):
    """Records a graph, and runs as much of it on examples as Python needs numbers from."""

    proxy_buffer_attributes = True

    def __init__(self, example: Tensor) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self._runs = [_Run(example), _Run(torch.cat([example, example[:1]]))]
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
        elif isinstance(a, nn.Parameter) and all(a is not parameter for parameter in self.root.parameters()):
            a = a.detach()  # held by a closure, so a constant of the traced model
        return super().create_arg(a)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.number(obj, "branches"))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        return (obj[index] for index in range(self.length(obj)))  # type: ignore[index]

    # Numbers

    def length(self, proxy: fx.Proxy) -> int:
        """Return the length of a tuple, a size, or a tensor."""
        lengths = {len(value) for value in self._values(proxy.node)}
        if len(lengths) > 1:
            raise GraphError("its forward loops over the images of a batch; each image must be computed alike.")
        return lengths.pop()

    def number(self, proxy: fx.Proxy, action: str) -> Any:
        """Return a value for Python's own use.

        Raises:
            GraphError: If it depends on the images.
        """
        first, second = self._values(proxy.node)
        if self._reads_pixels(proxy.node):
            self.refusal = GraphError(
                f"its forward {action} on values of tensors (node {proxy.node.name!r}), which differ between images; "
                "use torch.where, or move such code out of the model."
            )
        elif first != second:
            self.refusal = GraphError(
                f"its forward {action} on the number of images (node {proxy.node.name!r}); each image must be computed "
                "alike, in a batch of any size. Constants of that many images are made by x.new_zeros or x.expand."
            )
        else:
            return first
        raise self.refusal

    def plain(self, value: Any) -> Any:
        """Return the number behind a traced size, and any other value as it is."""
        return self.number(value, "computes") if isinstance(value, _Numbers) else value

    def constant(self, proxy: fx.Proxy) -> Any:
        """Return a value that is the same for all images: a device, a data type, a number of axes."""
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


class _Run:
    """The values of a growing graph's nodes for some images.

    Args:
        images: The images.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.values: dict[fx.Node, Any] = {}
        self._last: fx.Node | None = None

    def value(self, root: nn.Module, node: fx.Node) -> Any:
        """Return a node's value; every node runs once, in the order of the graph, as code with side effects needs."""
        if node not in self.values:
            nodes = iter(node.graph.nodes) if self._last is None else _after(self._last)
            for current in nodes:
                self.values[current] = self._run(root, current)
                self._last = current
        return self.values[node]

    def _run(self, root: nn.Module, node: fx.Node) -> Any:
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), self.values.__getitem__)
        match node.op:
            case "placeholder":
                return self.images.clone()
            case "get_attr":
                return attribute_at(root, str(node.target))
            case "call_module":
                return root.get_submodule(str(node.target))(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _after(node: fx.Node) -> Iterator[fx.Node]:
    current = node.next
    while current.op != "root":
        yield current
        current = current.next


def attribute_at(root: nn.Module, path: str) -> Any:
    """Return the attribute of a module or of one of its submodules, by its qualified name."""
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part)
    return value


class _Numbers(fx.Proxy):
    """Python's conversions of a traced value to a number."""

    tracer: _ExampleTracer

    def __getattr__(self, name: str) -> Any:
        attribute = _TensorAttribute(self, name)
        return self.tracer.constant(attribute) if name in _CONSTANTS else attribute

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            f"its forward assigns to a part of the tensor {self.node.name!r}; use torch.where, torch.cat or F.pad."
        )

    def is_instance(self, kinds: Any) -> bool:
        return isinstance(self.tracer.constant(self), kinds)

    def __len__(self) -> int:
        return self.tracer.length(self)

    def __index__(self) -> int:
        return operator.index(self._number("computes"))

    def __int__(self) -> int:
        return int(self._number("computes"))

    def __float__(self) -> float:
        return float(self._number("computes"))

    def __ceil__(self) -> int:
        number: float = self._number("computes")
        return math.ceil(number)

    def __floor__(self) -> int:
        number: float = self._number("computes")
        return math.floor(number)

    def __trunc__(self) -> int:
        number: float = self._number("computes")
        return math.trunc(number)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._number("computes"), digits)

    def __format__(self, specification: str) -> str:
        return format(self._number("computes"), specification) if specification else str(self)

    def __contains__(self, item: Any) -> bool:
        return any(part is item or bool(part == item) for part in self)

    def _number(self, action: str) -> Any:
        return self.tracer.number(self, action)


def _in_place(function: Callable[[Any, Any], Any]) -> Callable[[_Numbers, Any], fx.Proxy]:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _function in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.iand,
                  operator.ior):  # fmt: skip
    setattr(_Numbers, f"__{_function.__name__}__", _in_place(_function))


class _Value(_Numbers):
    """A value of the traced model."""


class _TensorAttribute(_Numbers, Attribute):
    """An attribute of a traced value, or one of its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.attr == "prod" and self.root.is_instance(tuple):  # as ``numpy.prod`` of sizes calls it
            return math.prod(self.root)
        result = Attribute.__call__(self, *args, **kwargs)
        return self.tracer.constant(result) if self.attr in _CONSTANT_CALLS else result
