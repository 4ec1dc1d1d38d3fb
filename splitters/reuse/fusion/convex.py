"""Deterministic minimisation of a convex loss of a few parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

_STEPS = 200


def minimise(
    loss: Callable[[Float64[Tensor, " number"]], Float64[Tensor, ""]], start: Float64[Tensor, " number"]
) -> Float64[Tensor, " number"]:
    """Return the minimiser of a smooth convex loss.

    Args:
        loss: Parameters to loss, in double precision.
        start: The starting point.
    """
    numbers = start.detach().clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [numbers], max_iter=_STEPS, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            value = loss(numbers)
            value.backward()
        return value

    optimiser.step(evaluate)
    return numbers.detach()
