"""Calls that compute element by element."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.call_rules.arguments import by_name
from splitters.errors import GraphError


class ArithmeticRules(CanonicalBuilder):
    """One rule per call; see ``CallRules``."""

    def _rewrite_softmin(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "dim")
        return self._emit("softmax", (self._emit("neg", (given["input"],)),), {"dim": given["dim"]})

    def _rewrite_rrelu(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "lower", "upper", "training")
        if given.get("training"):
            raise GraphError(
                "rrelu draws random slopes in eval mode as well, because its argument 'training' is True; pass "
                "training=self.training, or use torch.nn.RReLU."
            )
        return self._emit("leaky_relu", (given["input"], (given.get("lower", 1 / 8) + given.get("upper", 1 / 3)) / 2))

    def _rewrite_clamp_min(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "min")
        return self._emit("clamp", (given["input"],), {"min": given["min"]})

    def _rewrite_clamp_max(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "max")
        return self._emit("clamp", (given["input"],), {"max": given["max"]})

    def _rewrite_add(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._scaled_sum("add", *args, **kwargs)

    def _rewrite_sub(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._scaled_sum("sub", *args, **kwargs)

    def _scaled_sum(self, name: str, input: Any, other: Any, *, alpha: Any = None, out: Any = None) -> fx.Node | None:
        if alpha is None or out is not None:
            return None
        return self._emit(name, (input, self._product(other, alpha)))

    def _product(self, one: Any, other: Any) -> fx.Node:
        product: fx.Node = self._store_all(self._folded(self._emit("mul", (one, other))))
        return product

    def _rewrite_addcmul(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "tensor1", "tensor2")
        product = self._product(given["tensor1"], given["tensor2"])
        if given.get("value", 1) != 1:
            product = self._product(product, given["value"])
        return self._emit("add", (given["input"], product))

    def _rewrite_addcdiv(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "tensor1", "tensor2")
        quotient = self._store_all(self._folded(self._emit("div", (given["tensor1"], given["tensor2"]))))
        if given.get("value", 1) != 1:
            quotient = self._product(quotient, given["value"])
        return self._emit("add", (given["input"], quotient))

    def _rewrite_lerp(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "end", "weight")
        start, end = given["input"], given["end"]
        return self._emit("add", (start, self._product(self._emit("sub", (end, start)), given["weight"])))

    def _rewrite_where(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Put the condition first; the method of tensors has it second."""
        if kwargs or len(args) != 3:
            return None
        first, second, other = args
        is_method = isinstance(second, fx.Node) and self._is_condition(second) and not self._is_condition(first)
        return self._emit("where", (second, first, other) if is_method else args)

    def _rewrite_masked_fill(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "mask", "value")
        return self._emit("where", (given["mask"], given["value"], given["input"]))

    def _is_condition(self, node: Any) -> bool:
        value = self.values.get(node) if isinstance(node, fx.Node) else None
        return isinstance(value, Tensor) and value.dtype == torch.bool
