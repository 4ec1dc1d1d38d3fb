"""Copying a user's model: unwrapped, frozen, in eval mode, whatever tensors its layers cache."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from splitters.errors import GraphError

_INNER_MODULE = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module",
                 "AveragedModel": "module"}  # fmt: skip
"""torch's wrappers (``torch.compile``, data parallelism, averaged weights), and where each holds its model."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of torch's wrappers."""
    while _is_wrapper(model):
        model = getattr(model, _INNER_MODULE[type(model).__name__])
    return model


def copy_of_model(model: nn.Module) -> nn.Module:
    """Return a frozen copy of a model in eval mode, without torch's wrappers around it or around its parts.

    Raises:
        GraphError: If a layer has no weights yet, or is on the meta device, or if something in the model cannot be
            copied.
    """
    model = unwrapped(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta and not is_lazy(tensor):
            raise GraphError(
                f"the tensor {name!r} is on the meta device, without values; call model.to_empty(device='cpu') and "
                "load its weights first."
            )
        if is_lazy(tensor):
            layer = name.rpartition(".")[0]
            kind = type(model.get_submodule(layer)).__name__
            raise GraphError(f"the layer {layer!r} ({kind}) has no weights yet; call the model once on images first.")
    scripted = [name for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        layer = f"the layer {scripted[0]!r}" if scripted[0] else "the model"
        raise GraphError(f"{layer} is TorchScript, which cannot be traced; pass the nn.Module that it was made from.")
    memo: dict[int, Any] = {}
    try:
        for module in model.modules():
            for tensor in _tensors(vars(module)):
                if not tensor.is_leaf:  # computed by an earlier forward; torch refuses to copy these
                    memo[id(tensor)] = tensor.detach().clone()
        for wrapper in reversed([module for module in model.modules() if _is_wrapper(module)]):
            memo[id(wrapper)] = copy.deepcopy(unwrapped(wrapper), memo)
        frozen: nn.Module = copy.deepcopy(model, memo).eval().requires_grad_(False)
        for module in filter(is_parametrized, frozen.modules()):
            _fix_parametrisations(module)
    except Exception as error:
        raise GraphError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error
    return frozen


def _fix_parametrisations(module: nn.Module) -> None:
    """Turn a copied layer into one of its own class, with the tensors that its parametrisations compute.

    ``torch.nn.utils.parametrize.remove_parametrizations`` would change the class, which the original layer shares.
    """
    names: Any = module.parametrizations
    tensors = {name: getattr(module, name) for name in names}
    (module.__class__,) = type(module).__bases__
    del module.parametrizations
    for name, tensor in tensors.items():
        setattr(module, name, nn.Parameter(tensor.detach(), requires_grad=False))


def hooked(model: nn.Module) -> list[str]:
    """Return the names of the modules with forward hooks."""
    return [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]


def first_line(error: Exception) -> str:
    """Return an error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _is_wrapper(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.") and type(module).__name__ in _INNER_MODULE


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
