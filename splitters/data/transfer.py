"""Copies from the CPU to a device that the CPU does not wait for."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; the copy is queued there like any other work."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor if device == tensor.device else tensor.to(device)
