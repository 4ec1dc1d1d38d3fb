"""Traced values: what Python may do with them, and the numbers that it gets."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor, fx
from torch.fx.proxy import Attribute

from splitters.errors import GraphError

CONSTANTS = frozenset({"ndim", "device", "dtype", "layout", "is_cuda", "is_sparse", "is_quantized", "requires_grad",
                        "is_mkldnn", "is_mps", "is_meta"})  # fmt: skip
"""Attributes of tensors that are constants of a traced network."""

CONSTANT_CALLS = frozenset({"dim", "ndimension", "is_floating_point", "is_complex", "get_device", "element_size",
                             "is_contiguous"})  # fmt: skip
"""Methods of tensors whose results are constants of a traced network."""


class NumberReader(fx.Tracer):
    """A tracer that knows the numbers behind traced values."""

    def length(self, proxy: fx.Proxy) -> int:
        """Return the length of a tuple, a size, or a tensor."""
        raise NotImplementedError

    def number(self, proxy: fx.Proxy, action: str) -> Any:
        """Return a value for Python's own use.

        Args:
            proxy: The traced value.
            action: What the forward does with it, for messages.

        Raises:
            GraphError: If it depends on the images.
        """
        raise NotImplementedError

    def constant(self, proxy: fx.Proxy) -> Any:
        """Return a value that is the same for all images: a device, a data type, a number of axes."""
        raise NotImplementedError

    def plain(self, value: Any) -> Any:
        """Return the number behind a traced size, and any other value as it is."""
        return self.number(value, "computes") if isinstance(value, TRACED) else value


class _Numbers(fx.Proxy):
    """Python's conversions of a traced value to a number."""

    tracer: NumberReader
    __array_priority__ = 1000  # that of tensors: NumPy's numbers leave ``np.sqrt(2) * x`` to them

    def __getattr__(self, name: str) -> Any:
        # NumPy reads it by ``__array__`` alone; other names may be asked for by ``hasattr``.
        if name.startswith("__array_") or not (hasattr(Tensor, name) or hasattr(self.tracer.constant(self), name)):
            raise AttributeError(f"a {type(self.tracer.constant(self)).__name__} has no attribute {name!r}")
        attribute = _TensorAttribute(self, name)
        return self.tracer.constant(attribute) if name in CONSTANTS else attribute

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
        with suppress(GraphError):  # a line of text about the number of images is no part of the network
            return format(self._number("computes"), specification) if specification else str(self)
        return str(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._number("computes by NumPy"), dtype)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __contains__(self, item: Any) -> bool:
        return any(part is item or bool(part == item) for part in self)

    def _number(self, action: str) -> Any:
        return self.tracer.number(self, action)


def _in_place(function: Callable[[Any, Any], Any]) -> Callable[[_Numbers, Any], fx.Proxy]:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _function in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.iand,
                  operator.ior):  # fmt: skip
    setattr(_Numbers, f"__{_function.__name__}__", _in_place(_function))


class Value(_Numbers):
    """A value of the traced model."""


class _TensorAttribute(_Numbers, Attribute):
    """An attribute of a traced value, or one of its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.attr == "prod" and self.root.is_instance(tuple):  # as ``numpy.prod`` of sizes calls it
            return math.prod(self.root)
        result = Attribute.__call__(self, *args, **kwargs)
        if self.attr == "numpy":
            with suppress(GraphError):  # A hook may only keep the array; if NumPy computes with it, this is the cause.
                return self.tracer.number(result, "computes by NumPy")
        return self.tracer.constant(result) if self.attr in CONSTANT_CALLS else result


TRACED = (Value, _TensorAttribute)
"""The classes of traced values."""
