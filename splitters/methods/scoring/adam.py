"""The optimiser of all training by gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def adam(
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]], *, lr: float, device: torch.device
) -> torch.optim.Adam:
    """Return Adam for parameters, or groups of them, on a device; on a GPU, a step is one kernel for all of them.

    Args:
        parameters: As for ``torch.optim.Adam``.
        lr: The learning rate of groups that have none of their own.
        device: Where the parameters are.
    """
    return torch.optim.Adam(parameters, lr=lr, fused=True if device.type == "cuda" else None)
