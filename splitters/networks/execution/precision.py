"""The precision in which networks compute: a setting of a whole run, like its number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from splitters.errors import ConfigurationError
from splitters.settings import Precision

_PRECISION: ContextVar[Precision] = ContextVar("precision", default="float32")


def current_precision() -> Precision:
    """Return the precision in which networks compute here."""
    return _PRECISION.get()


@contextmanager
def computing_in(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Set the precision of networks for a block, and restore it after.

    Weights, gradients, optimisers and everything behind a network's output stay in float32.

    Args:
        precision: ``float32``; ``tf32``, where tensor cores round the factors of products to 10 bits; or ``bf16``,
            where convolutions and matrix products run in bfloat16 and sum up in float32.
        device: The device of the networks.

    Raises:
        ConfigurationError: If the device has no TF32.
    """
    on_gpu = torch.device(device).type == "cuda"
    if precision == "tf32" and not on_gpu:
        raise ConfigurationError("precision: tf32 is for GPUs; on the CPU, use float32 or bf16.")
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul) if on_gpu else ()
    before = [backend.allow_tf32 for backend in backends]
    token = _PRECISION.set(precision)
    try:
        for backend in backends:
            # torch's own default is to round the factors of convolutions, but not those of matrix products.
            backend.allow_tf32 = precision == "tf32"
        yield
    finally:
        _PRECISION.reset(token)
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def run_network(network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return a network's output in float32, computed in the current precision."""
    with autocast(inputs[0].device):
        return network(*inputs).float()


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which torch's operators compute in the current precision."""
    return torch.autocast(device.type, torch.bfloat16) if current_precision() == "bf16" else nullcontext()
