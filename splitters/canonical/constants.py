"""Constant folding: what no image reaches is computed once, while the model is rewritten.

Parameters, buffers, views of them and arithmetic on them are constants, also where sizes of feature maps enter, which
the shape of the images determines. A standardised weight thus is an ordinary weight, and a learned factor per channel a
tensor with one value per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from splitters.canonical.operations import operation_of


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that no image reaches.

    Args:
        name: The name of the parameter or buffer that it was computed from; of several, the largest.
        value: The tensor.
    """

    name: str
    value: Tensor


def fold(evaluate: Callable[..., Any], args: Any, kwargs: Any, *, default_name: str) -> Any:
    """Evaluate a call that no image reaches.

    Args:
        evaluate: Takes the arguments and the keyword arguments.
        args: The arguments, with constants among them.
        kwargs: The keyword arguments.
        default_name: The name of a result that is computed from no constant.

    Returns:
        The result, in which each tensor is a constant.
    """
    constants: list[Constant] = []

    def value_of(part: Any) -> Any:
        if isinstance(part, Constant):
            constants.append(part)
            return part.value
        return part

    result = evaluate(*map_aggregate((args, kwargs), value_of))
    name = max(constants, key=lambda constant: constant.value.numel()).name if constants else default_name

    def constant_of(part: Any) -> Any:
        return Constant(name, part) if isinstance(part, Tensor) else part

    return map_aggregate(result, constant_of)


class ConstantNodes:
    """Tells which nodes of a canonical graph depend neither on pixels nor on the number of images.

    Args:
        values: The value of each node for an example; it may grow.
    """

    def __init__(self, values: Mapping[fx.Node, Any]) -> None:
        self._values = values
        self._known: dict[fx.Node, bool] = {}

    def __contains__(self, node: fx.Node) -> bool:
        """Return whether a node is such a node."""
        if node not in self._known:
            self._known[node] = self._is_constant(node)
        return self._known[node]

    def _is_constant(self, node: fx.Node) -> bool:
        operation, sources = operation_of(node.target), node.all_input_nodes
        if node.op in ("placeholder", "call_module") or not sources:
            return node.op == "get_attr"
        if operation is not None and operation.name == "size":
            axis = node.args[1] if len(node.args) > 1 else None
            return isinstance(axis, int) and axis % self._values[sources[0]].dim() != 0
        if operation is not None and operation.name == "getitem" and isinstance(self._values[sources[0]], torch.Size):
            axis = node.args[1]
            return isinstance(axis, int) and axis % len(self._values[sources[0]]) != 0
        return all(source in self for source in sources)
