"""The part of a GPU's memory that work may take: a setting of a whole run, like its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_SHARE: ContextVar[float] = ContextVar("gpu_share", default=1.0)


@contextmanager
def owning_gpu_share(share: float) -> Iterator[None]:
    """Set the share of its GPU that work owns in a block, and restore it after.

    Args:
        share: Above 0, at most 1.
    """
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def available_bytes(device: torch.device) -> int:
    """Return what torch may still allocate on a GPU: what is free, but no more than is left of the owned share.

    Free is also what torch has reserved and does not use.
    """
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    unused = torch.cuda.memory_reserved(device) - allocated
    return max(0, min(free + unused, int(_SHARE.get() * total) - allocated))
