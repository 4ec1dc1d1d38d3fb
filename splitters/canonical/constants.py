"""Constant folding: what no image reaches is computed once, while the model is rewritten.

Parameters, buffers, views of them and arithmetic on them are constants. A standardised weight thus is an ordinary
weight, and a learned factor per channel a tensor with one value per channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx.node import map_aggregate


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
