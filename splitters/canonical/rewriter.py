"""Rewriting a model into a canonical graph: few kinds of nodes, batch norms folded, nothing in place.

The canonical graph computes what the model computes in eval mode. It owns copies of all weights, so that work on it
leaves the model unchanged.
"""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import types
from collections import Counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from splitters.canonical.call_rules import CallRules
from splitters.canonical.constants import Constant, fold
from splitters.canonical.layers import plain_kind, plain_layer
from splitters.canonical.model_copy import first_line, hooked
from splitters.canonical.operations import OPERATIONS, ChannelAffine, ChannelPReLU, ChannelRule, Operation
from splitters.canonical.torch_layers import (
    ALIASES_OF_INPUT,
    BATCH_NORMS,
    INSTANCE_NORMS,
    MODULE_CALLS,
    affine_of_batch_norm,
    fold_affine,
)
from splitters.canonical.tracing import attribute_at, trace_model
from splitters.errors import GraphError

_FUNCTION_NAMES: dict[str, str] = {
    "truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "concat": "cat",
    "concatenate": "cat", "view": "reshape", "swapaxes": "transpose", "absolute": "abs", "clip": "clamp",
    "negative": "neg", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "floor_divide": "floordiv",
    "and": "bitwise_and", "or": "bitwise_or", "invert": "bitwise_not", "greater": "gt", "greater_equal": "ge",
    "less": "lt", "less_equal": "le", "not_equal": "ne", "bmm": "mm", "nelement": "numel",
    "native_channel_shuffle": "channel_shuffle", "ipow": "pow", "iand": "bitwise_and", "ior": "bitwise_or",
    "broadcast_to": "expand", "moveaxis": "movedim", "special_expit": "sigmoid", "swapdims": "transpose",
    "arctan": "atan", "arcsinh": "asinh", "special_erf": "erf", "remainder": "mod", "arctan2": "atan2",
}  # fmt: skip
"""Aliases of operations, as functions and as methods."""

_UNCHANGED = frozenset({"contiguous", "clone", "detach", "positive", "pos", "requires_grad"})
"""Calls that return their input."""

_COPIES = frozenset({"clone", "repeat", "tile"})
"""Calls that return new memory, even where the canonical graph has one node for their input and their result."""

_CONVERSIONS = frozenset({"to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda"})
"""Calls that return their input where it already has the type and the device that are asked for."""

_DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
                       "feature_alpha_dropout", "stochastic_depth", "drop_block2d"})  # fmt: skip
"""Calls that return their input unless their ``training`` argument is true."""

_IN_PLACE_OPERATORS = frozenset({"iadd", "isub", "imul", "itruediv", "ipow", "iand", "ior"})

_NUMPY_NAMES = {"axis": "dim", "axis0": "dim0", "axis1": "dim1", "keepdims": "keepdim", "x": "input", "x2": "other"}
"""NumPy's names of arguments, which torch takes as well."""

_OPERATORS = frozenset({
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.neg, operator.gt, operator.ge,
    operator.lt, operator.le, operator.eq, operator.ne, operator.and_, operator.or_, operator.invert, operator.mod,
})  # fmt: skip
"""Functions that take no argument by name."""


def canonical_graph(
    model: nn.Module, example: Float[Tensor, "batch channel height width"]
) -> tuple[fx.GraphModule, dict[fx.Node, Any], dict[fx.Node, str], list[str]]:
    """Rewrite a model into a canonical graph.

    A write in place to a view also changes the tensor that is viewed; the canonical graph leaves that one as it is.
    This matters only if the overwritten part is read through that tensor later: compare the outputs.

    Args:
        model: A ``copy_of_model``, which may get further attributes.
        example: At least two images.

    Returns:
        The canonical network, the value of each of its nodes for the example, the qualified name in the model of each
        convolution and linear node, and a sentence about each write in place to a view.

    Raises:
        GraphError: If the model cannot be traced.
    """
    with torch.no_grad():
        _check_runs(model, example)
        rewriter = _Rewriter(model, example)
        nodes = trace_model(model, example).nodes
        rewriter.module_calls = frozenset(str(node.target) for node in nodes if node.op == "call_module")
        if any(isinstance(node.target, torch._ops.OpOverload) for node in nodes):
            raise GraphError(
                "the model is a graph of ATen operations, as torch.export makes it; pass the module it was made from."
            )
        for node in nodes:
            rewriter.add(node)
    return rewriter.finish()


def _check_runs(model: nn.Module, example: Tensor) -> None:
    kinds = Counter(part.dtype for part in model.parameters() if part.is_floating_point())
    if kinds and example.dtype not in kinds:
        raise GraphError(f"the model's weights are {kinds.most_common(1)[0][0]}, the images {example.dtype}; call "
                         "model.float() first.")  # fmt: skip
    names = {name for name, _ in model.named_parameters()}
    try:
        model(example)
    except Exception as error:
        hint = " (or its hooks write to the model itself, not to its copy)" if hooked(model) else ""
        raise GraphError(
            f"the model does not take images of shape {list(example.shape)}{hint}: {first_line(error)}"
        ) from error
    made = [name for name, _ in model.named_parameters() if name not in names]
    if made:
        raise GraphError(f"its first forward makes {made[0]!r}, whose values are random; call the model once on "
                         "images, and load its weights.")  # fmt: skip


class _Rewriter(CallRules):
    """Adds the nodes of a traced graph, one by one, to a canonical one, and runs them on the example."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.model = model
        self.example = example
        self.renamed: dict[fx.Node, Any] = {}
        self.owners: dict[fx.Node, fx.Node] = {}  # the node of the model whose tensor a node returns
        self.view_writes: list[str] = []

    def finish(self) -> tuple[fx.GraphModule, dict[fx.Node, Any], dict[fx.Node, str], list[str]]:
        self.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        _make_relus_in_place(self.graph, self.root)
        network = fx.GraphModule(self.root, self.graph, class_name="CanonicalNetwork")
        network.delete_all_unused_submodules()
        alive = set(network.graph.nodes)
        return (
            network,
            {node: value for node, value in self.values.items() if node in alive},
            {node: name for node, name in self.sources.items() if node in alive},
            self.view_writes,
        )

    def add(self, node: fx.Node) -> None:
        """Add a node of the traced graph.

        Raises:
            GraphError: If it cannot be added, with the node, its layer and the cause in one line.
        """
        self.layer_path, _ = self._layer_of(node)
        try:
            self._add(node)
        except Exception as error:
            cause = str(error) if isinstance(error, GraphError) else first_line(error)
            raise GraphError(f"{self._place(node)}: {cause}") from error

    def _layer_of(self, node: fx.Node) -> tuple[str, type[nn.Module]]:
        stack = node.meta.get("nn_module_stack")
        return list(stack.values())[-1] if stack else ("", type(self.model))

    def _place(self, node: fx.Node) -> str:
        """Return a node and its layer, for messages."""
        path, kind = self._layer_of(node)
        layer = f"layer {path!r} ({kind.__name__})" if path else kind.__name__
        return f"node {node.name!r} ({_raw_name(node)}) of {layer}"

    def _add(self, node: fx.Node) -> None:
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda old: self.renamed[old])
        kwargs = dict(kwargs)
        match node.op:
            case "placeholder":
                self.renamed[node] = self._record(self.graph.placeholder("images"), self.example)
            case "output":
                if not isinstance(args[0], fx.Node):
                    raise GraphError(
                        f"the model returns a {_plain_name(args[0])}; it must return one tensor of logits."
                    )
                self.graph.output(args[0])
            case "get_attr":
                self.renamed[node] = self._constant(str(node.target), attribute_at(self.model, str(node.target)))
            case "call_module":
                self.renamed[node] = self._module(node, args, kwargs)
            case _:
                self.renamed[node] = self._function(node, args, kwargs)
        self.owners[node] = self._owner(node)

    def _owner(self, node: fx.Node) -> fx.Node:
        shared = [source for source in node.all_input_nodes if self.renamed[source] is self.renamed.get(node)]
        return self.owners[shared[0]] if shared and _raw_name(node) not in _COPIES else node

    # Modules

    def _module(self, node: fx.Node, args: Any, kwargs: dict[str, Any]) -> Any:
        name = str(node.target)
        module = self.model.get_submodule(name)
        kind = type(module)
        if not _reads_images((args, kwargs)):
            return fold(lambda args, kwargs: module(*args, **kwargs), args, kwargs, default_name=name)
        args, kwargs = self._store_all((args, kwargs))
        kwargs = dict(kwargs)
        x = args[0] if args else kwargs.pop("input", None)
        if isinstance(module, nn.ConvTranspose2d) and plain_kind(module) and isinstance(x, fx.Node):
            return self._transposed_convolution(module, x, kwargs.get("output_size", (*args[1:], None)[0]), name)
        if len(args) > 1 or kwargs or not isinstance(x, fx.Node):
            return self._opaque_module(module, args, kwargs, name)
        if kind in ALIASES_OF_INPUT:
            return x
        if plain_kind(module) is not None:
            return self._layer(plain_layer(module), x, name)
        if isinstance(module, BATCH_NORMS) and module.running_mean is not None:
            return self._batch_norm(node, x, affine_of_batch_norm(module), name)
        if isinstance(module, INSTANCE_NORMS) and self.values[x].dim() == (4 if kind is nn.InstanceNorm2d else 3):
            if module.running_mean is not None:
                return self._layer(self._affine(x, affine_of_batch_norm(module)), x, name)
            return self._instance_norm(x, module.weight, module.bias, module.eps, name)
        if isinstance(module, nn.PReLU):
            return self._prelu(module, x, name)
        if kind in MODULE_CALLS:
            function, call_args, call_kwargs = MODULE_CALLS[kind](module)
            fixed = {key: self._store(self._constant(f"{name}.{key}", value)) if isinstance(value, Tensor) else value
                     for key, value in call_kwargs.items()}  # fmt: skip
            rule = getattr(self, f"_rewrite_{function}", None)
            new = rule((x, *call_args), fixed) if rule is not None else None
            if new is None:
                reads_alone = len(node.all_input_nodes[0].users) == 1
                new = self._emit_operation(function, (x, *call_args), fixed, reads_alone=reads_alone)
            self._rebind_in_place(node, bool(getattr(module, "inplace", False)), new)
            return new
        return self._opaque_module(module, args, kwargs, name)

    def _opaque_module(self, module: nn.Module, args: Any, kwargs: dict[str, Any], name: str) -> fx.Node:
        node = self.graph.create_node("call_module", "pending", args, kwargs, name=name.replace(".", "_"))
        node.target = node.name
        self.root.add_module(node.name, copy.deepcopy(module))
        real_args, real_kwargs = self._real((args, kwargs))
        return self._record(node, module(*real_args, **real_kwargs))

    def _transposed_convolution(self, module: nn.ConvTranspose2d, x: fx.Node, output_size: Any, name: str) -> fx.Node:
        """Add a transposed convolution; a wanted output size becomes the padding that leads to it."""
        layer = plain_layer(module)
        if output_size is not None:
            geometry: list[Any] = [module.stride, module.padding, module.kernel_size, 2, module.dilation]
            wanted = [int(size) for size in self._real(output_size)]
            layer.output_padding = tuple(module._output_padding(self.values[x], wanted, *geometry))
        return self._layer(layer, x, name)

    def _prelu(self, module: nn.PReLU, x: fx.Node, name: str) -> fx.Node:
        if module.num_parameters == 1:
            return self._emit("leaky_relu", (x, float(module.weight)))
        return self._layer(ChannelPReLU(module.weight.detach().clone()), x, name)

    def _batch_norm(self, node: fx.Node, x: fx.Node, affine: tuple[Tensor, Tensor], name: str) -> fx.Node:
        """Fold the affine map into the preceding layer if nothing else reads that layer."""
        before = getattr(self.root, str(x.target)) if x.op == "call_module" else None
        axis_fits = isinstance(before, (nn.Conv1d, nn.Conv2d)) or self.values[x].dim() == 2
        if isinstance(before, (nn.Conv1d, nn.Conv2d, nn.Linear)) and axis_fits and self._reads_alone(node, x):
            fold_affine(before, *affine)
            self.values[x] = before(self._real(x.args[0]))
            return x
        return self._layer(self._affine(x, affine), x, name)

    def _affine(self, x: fx.Node, affine: tuple[Tensor, Tensor]) -> ChannelAffine:
        scale, shift = (part.to(self.values[x]) for part in affine)
        return ChannelAffine(scale, shift)

    def _reads_alone(self, reader: fx.Node, x: fx.Node) -> bool:
        """Return whether no other node of the model reads the value of ``x``."""
        others = {user for old, new in self.renamed.items() if new is x for user in old.users} - {reader}
        return all(self.renamed.get(user) is x for user in others)

    def _rebind_in_place(self, node: fx.Node, in_place: bool, new: fx.Node) -> None:
        """Let later readers of an overwritten input read the result, as in the model."""
        if in_place and node.all_input_nodes:
            written = node.all_input_nodes[0]
            if any(part._is_view() for part in self._tensors(written)):
                self.view_writes.append(
                    f"{self._place(node)} writes in place to {written.name!r}, a view of a tensor that is read later; "
                    "use the operation that returns a new tensor."
                )
            for old, owner in self.owners.items():
                if owner is self.owners[written]:
                    self.renamed[old] = new

    def _tensors(self, old: fx.Node) -> list[Tensor]:
        """Return the tensors that a node of the model returns, none for the output."""
        parts = _flat(self._real(self.renamed.get(old)))
        values = [part.value if isinstance(part, Constant) else part for part in parts]
        return [value for value in values if isinstance(value, Tensor)]

    # Functions and methods

    def _function(self, node: fx.Node, args: Any, kwargs: dict[str, Any]) -> Any:
        raw = _raw_name(node)
        name = raw.removesuffix("_") if not raw.startswith("__") else raw
        if not _reads_images((args, kwargs)):
            if name == "getattr" and isinstance(args[0], tuple):
                return self._rewrite_getattr(args, kwargs)
            return fold(functools.partial(_evaluate, node), args, kwargs, default_name=name)
        args, kwargs = self._store_all((args, kwargs))
        if node.op == "call_function" and not _is_of_torch(node.target):
            return self._opaque_function(node, args, kwargs)
        given = args, kwargs
        args, kwargs = _input_first(node, args, kwargs)
        is_method_in_place = raw.endswith("_") and node.target not in _OPERATORS
        in_place = bool(kwargs.pop("inplace", False)) or is_method_in_place or name in _IN_PLACE_OPERATORS
        in_place = in_place and bool(self._tensors(node.all_input_nodes[0]))  # numbers are not overwritten
        name = _FUNCTION_NAMES.get(name, name)
        if name.endswith("_with_indices"):
            name, kwargs = name.removesuffix("_with_indices"), {**kwargs, "return_indices": True}
        if name in _UNCHANGED or (name in _DROPOUTS and _check_inactive(node, args, kwargs)):
            return args[0]
        if name in _CONVERSIONS:
            return self._folded(self._conversion(node, args, kwargs))
        special = getattr(self, f"_rewrite_{name}", None)
        new: Any = special(args, kwargs) if special is not None else None
        if new is None:
            new = self._known(name, node, args, kwargs)
        if new is None:
            new = self._opaque_function(node, *given)
        self._rebind_in_place(node, in_place, new)
        return self._folded(new) if not in_place else new

    def _conversion(self, node: fx.Node, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return the input where a conversion does not change it; a condition may become zeros and ones."""
        real_args, real_kwargs = self._real((args, kwargs))
        before, after = real_args[0], _evaluate(node, real_args, real_kwargs)
        if args[0] in self.constant_nodes:  # whatever tensor gives the type
            return Constant(self.sources.get(args[0], node.name), after)
        if isinstance(before, Tensor) and isinstance(after, Tensor) and before.device == after.device:
            if before.dtype == after.dtype:
                return args[0]
            if before.dtype == torch.bool and after.dtype == torch.get_default_dtype():
                return self._emit("where", (args[0], 1.0, 0.0))
        return self._opaque_function(node, args, kwargs)

    def _known(self, name: str, node: fx.Node, args: Any, kwargs: dict[str, Any]) -> Any:
        if name not in OPERATIONS or "out" in kwargs or "dtype" in kwargs:
            return None
        if OPERATIONS[name].function in _OPERATORS:
            args = (*args, *[kwargs[key] for key in ("other", "exponent") if key in kwargs])
            if kwargs.keys() - {"other", "exponent"}:
                return None
            kwargs = {}
            args = fx.map_arg(args, self._plain_number) if self._leaves_sizes(OPERATIONS[name], args) else args
            if not _reads_images(args):
                return OPERATIONS[name].function(*args)
        reads_alone = bool(node.all_input_nodes) and len(node.all_input_nodes[0].users) == 1
        return self._emit_operation(name, args, kwargs, reads_alone=reads_alone)

    def _leaves_sizes(self, operation: Operation, args: Any) -> bool:
        """Return whether arithmetic gives pixels or a fraction: no size of a tensor, so that its numbers are fixed."""
        values = self._real(args)
        if operation.rule is not ChannelRule.POINTWISE:
            return False
        has_pixels = any(isinstance(value, Tensor) for value in values)
        return has_pixels or isinstance(operation.function(*values), float)

    def _plain_number(self, node: fx.Node) -> Any:
        value = self.values[node]
        return value if isinstance(value, int | float) and node in self.constant_nodes else node

    def _opaque_function(self, node: fx.Node, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        new = self.graph.create_node(node.op, node.target, args, kwargs)
        real_args, real_kwargs = self._real((args, kwargs))
        return self._record(new, _evaluate(node, real_args, real_kwargs))


def _make_relus_in_place(graph: fx.Graph, root: nn.Module) -> None:
    """Make ReLUs in-place where nothing else reads their input and no gradient needs it."""
    for node in graph.nodes:
        if node.target is not OPERATIONS["relu"].function or not isinstance(node.args[0], fx.Node):
            continue
        x = node.args[0]
        is_layer = x.op == "call_module" and isinstance(getattr(root, str(x.target)), (nn.Conv2d, nn.Linear))
        if len(x.users) == 1 and (is_layer or x.target is OPERATIONS["max_pool2d"].function):
            node.kwargs = {"inplace": True}


def _plain_name(value: Any) -> str:
    return type(value).__name__.removeprefix("immutable_")  # torch.fx has its own lists and dicts


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for item in value.values() for part in _flat(item)]
    if isinstance(value, (tuple, list)):
        return [part for item in value for part in _flat(item)]
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    return [value]


def _reads_images(args: Any) -> bool:
    """Return whether any argument depends on the images."""
    return any(isinstance(part, fx.Node) for part in _flat(args))


def _raw_name(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))


def _input_first(node: fx.Node, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return arguments with the input first, and all others by name if one of them is ``inplace``."""
    if isinstance(node.target, types.FunctionType):
        signature = inspect.signature(node.target)
        if "inplace" in signature.parameters:
            first, *others = signature.bind(*args, **kwargs).arguments.items()
            return (first[1],), dict(others)
    kwargs = {_NUMPY_NAMES.get(key, key): value for key, value in kwargs.items()}
    for key in ("input", "tensor", "tensors"):
        if not args and key in kwargs:
            return (kwargs[key],), {name: value for name, value in kwargs.items() if name != key}
    return args, dict(kwargs)


def _is_of_torch(function: Any) -> bool:
    """Return whether a function is torch's or Python's own, not a user's of the same name."""
    return isinstance(function, type(torch.relu)) or getattr(function, "__module__", "").startswith(
        ("torch.", "torchvision.", "_operator")
    )


def _evaluate(node: fx.Node, args: Any, kwargs: dict[str, Any]) -> Any:
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _check_inactive(node: fx.Node, args: Any, kwargs: dict[str, Any]) -> bool:
    """Return True for a dropout that returns its input in eval mode, and refuse any other.

    Raises:
        GraphError: If it drops values in eval mode as well.
    """
    signature = inspect.signature(node.target) if isinstance(node.target, types.FunctionType) else None
    names = list(signature.parameters) if signature else ["input", "p", "train"]
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()} if signature else {}
    given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    if given.get("training", given.get("train")) and given.get("p", given.get("drop_prob")) != 0:
        raise GraphError(
            f"{_raw_name(node)} drops values in eval mode as well, because its argument 'training' is True; pass "
            "training=self.training, or use torch.nn.Dropout."
        )
    return True
