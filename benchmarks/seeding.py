"""Random numbers without hidden state: seeds derived by name, and torch's global generators restored after use."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, *labels: str | int) -> int:
    """Return a 63-bit seed for one purpose; different labels give independent streams."""
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_global_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, for code that draws from them all the same."""
    seed = derive_seed(seed, "global")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int, *, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators of the CPU and of ``device`` for a block, and restore them after it.

    Initialisation and dropout draw from the global generators only; this confines them.
    """
    device = torch.device(device)
    on_cuda = device.type == "cuda"
    index = torch.cuda.current_device() if on_cuda and device.index is None else device.index
    with torch.random.fork_rng(devices=[index] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
