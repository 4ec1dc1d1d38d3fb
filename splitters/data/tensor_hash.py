"""Hashing of tensors: names, types, shapes and bytes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def hash_tensor(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    """Add a tensor's name, type, shape and bytes to a digest."""
    digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
