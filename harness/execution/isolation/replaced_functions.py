"""Put back the functions and classes that a cell has replaced in torch, NumPy, Python or this package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from operator import is_

_MODULES = frozenset((
    "builtins", "math", "random", "time", "numpy", "numpy.random", "torch", "torch.random", "torch.nn",
    "torch.nn.functional", "torch.nn.init", "torch.optim", "PIL.Image",
))  # fmt: skip
_WITH_CLASSES = ("torch.nn.modules.", "torch.optim.")
_OURS = ("splitters.", "benchmarks.", "harness.")


def replaced_functions() -> Callable[[], None]:
    """Return what undoes, when it is called, each replacement of a function, method or class from now on.

    What is added stays, as do other values: modules keep what they have computed in them.
    """
    before = [(owner, dict(vars(owner))) for owner in _owners()]

    def restore() -> None:
        for owner, values in before:
            now = vars(owner)
            if len(now) != len(values) or not all(map(is_, now.values(), values.values())):
                _restore(owner, values)

    return restore


def _restore(owner: object, values: Mapping[str, object]) -> None:
    now = vars(owner)
    for name, value in values.items():
        if now.get(name) is not value and callable(value):
            setattr(owner, name, value)
    if isinstance(owner, type):
        for name in now.keys() - values.keys():
            if callable(getattr(super(owner, owner), name, None)):
                delattr(owner, name)  # It hides a method that the class inherits.


def _owners() -> Iterator[object]:
    """Yield the imported modules and classes whose functions are called while a cell is measured."""
    import torch

    yield torch.Tensor
    for name, module in sys.modules.copy().items():  # other threads import meanwhile
        if name in _MODULES or name.startswith(_OURS):
            yield module
        elif name.startswith(_WITH_CLASSES):
            yield from (
                value for value in vars(module).copy().values() if isinstance(value, type) and value.__module__ == name
            )
