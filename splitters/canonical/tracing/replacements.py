"""Functions of Python and torch that are replaced while a model is traced."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import jaxtyping
import torch
from torch import Tensor, fx, nn
from torch.autograd import Variable
from torch.fx.node import map_aggregate

from splitters.canonical.tracing.values import TRACED, NumberReader

_FUNCTIONS_OF_SIZES = {"zeros": torch.zeros, "ones": torch.ones, "empty": torch.empty, "FloatTensor": torch.empty}
_METHODS_OF_SIZES = ("expand", "repeat", "tile", "view", "reshape", "new_zeros", "new_ones")
"""Functions (with what they compute), and methods of tensors of no image, that take sizes one by one."""

_CHECKS = ("_check", "_check_value", "_check_index", "_check_type")
"""Functions that take a condition, and nothing that stands for one."""

_ORIGINALS = {
    name: getattr(torch, name) for name in (*_FUNCTIONS_OF_SIZES, *_CHECKS, "is_tensor", "tensor", "as_tensor")
}
"""The functions of torch that are replaced while a model is traced."""


@contextmanager
def traced_builtins(model: nn.Module) -> Iterator[None]:
    """Let ``len(x)`` stay symbolic and ``isinstance(x, Tensor)`` be true in the code of a model.

    Python's own ``len`` returns plain numbers only, and its ``isinstance`` knows a traced value as what records it.
    """

    def traced_len(value: Any) -> Any:
        return value.size(0) if isinstance(value, TRACED) and value.is_instance(Tensor) else len(value)

    def traced_isinstance(value: Any, kinds: Any) -> bool:
        return value.is_instance(kinds) if isinstance(value, TRACED) else isinstance(value, kinds)

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
def traced_torch(tracer: NumberReader) -> Iterator[None]:
    """Let torch take traced sizes that are given one by one, as in ``torch.zeros(x.size(0), 1)``, and know tensors.

    By itself, torch hands calls to proxies only where one of them is an argument that may be a tensor, or in a tuple.
    ``torch.autograd.Variable`` returns traced values, as it does tensors.
    """

    def is_tensor(value: Any) -> bool:
        return value.is_instance(Tensor) if isinstance(value, TRACED) else isinstance(value, Tensor)

    def tensor(data: Any, **settings: Any) -> Any:
        return _ORIGINALS["tensor"](map_aggregate(data, tracer.plain), **settings)

    def as_tensor(data: Any, **settings: Any) -> Any:
        if isinstance(data, TRACED) and data.is_instance(Tensor):
            return data.to(**settings) if settings else data
        return _ORIGINALS["as_tensor"](map_aggregate(data, tracer.plain), **settings)

    def taking_sizes(kind: str, target: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            traced = any(isinstance(part, fx.Proxy) for part in (*args, *kwargs.values()))
            return tracer.create_proxy(kind, target, args, kwargs) if traced else function(*args, **kwargs)

        return call

    def variable(kind: type, data: Any, *settings: Any, **named: Any) -> Any:
        return data if isinstance(data, TRACED) else type.__call__(kind, data, *settings, **named)

    def checking(name: str) -> Callable[..., Any]:
        return lambda condition, *message: _ORIGINALS[name](bool(condition), *message)

    try:
        # The metaclass, as ``Variable.__new__`` cannot be replaced.
        type(Variable).__call__ = variable  # type: ignore[assignment,method-assign]
        for replaced in (is_tensor, tensor, as_tensor):
            setattr(torch, replaced.__name__, replaced)
        for name, function in _FUNCTIONS_OF_SIZES.items():
            setattr(torch, name, taking_sizes("call_function", function, _ORIGINALS[name]))
        for name in _CHECKS:
            setattr(torch, name, checking(name))
        for name in _METHODS_OF_SIZES:
            setattr(Tensor, name, taking_sizes("call_method", name, getattr(Tensor, name)))
        yield
    finally:
        del type(Variable).__call__
        for name, original in _ORIGINALS.items():
            setattr(torch, name, original)
        for name in _METHODS_OF_SIZES:
            if name in vars(Tensor):  # else it is inherited
                delattr(Tensor, name)


@contextmanager
def traced_kernels() -> Iterator[None]:
    """Let torchvision's transforms of version 2, which go by the type of what they get, take traced values as tensors.

    They return values of an unknown type as they are.
    """
    functional = sys.modules.get("torchvision.transforms.v2.functional._utils")
    registries = [kernels for kernels in getattr(functional, "_KERNEL_REGISTRY", {}).values() if Tensor in kernels]
    for kernels in registries:
        kernels[fx.Proxy] = kernels[Tensor]
    try:
        yield
    finally:
        for kernels in registries:
            del kernels[fx.Proxy]


@contextmanager
def unchecked_shapes() -> Iterator[None]:
    """Let functions that jaxtyping checks take traced values, which are no tensors to it."""
    was_disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", was_disabled)


@contextmanager
def compiled_functions_called_directly() -> Iterator[None]:
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
    packages.add("torchvision")  # its functions ask for the type of what they get
    folders = {_folder(sys.modules.get(file)) for file in files if _package(file) in packages} - {None}
    return [
        vars(module)
        for name, module in sys.modules.copy().items()
        if isinstance(module, ModuleType)
        and (name in files or _package(name) in packages or ("." not in name and _folder(module) in folders))
    ]


def _package(file: str) -> str:
    return file.partition(".")[0]


def _folder(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return None if file is None else os.path.dirname(file)
