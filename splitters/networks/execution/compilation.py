"""Compiled networks: a setting of a whole run, like its precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_LOGGER = logging.getLogger(__name__)
_ENABLED: ContextVar[bool] = ContextVar("compilation", default=False)


@contextmanager
def compiling(enabled: bool) -> Iterator[None]:
    """Set whether networks are compiled in a block, and restore it after."""
    token = _ENABLED.set(enabled)
    try:
        yield
    finally:
        _ENABLED.reset(token)


def is_compiling() -> bool:
    """Return whether networks are compiled here."""
    return _ENABLED.get()


def compiled(network: nn.Module) -> Callable[..., Tensor]:
    """Return a network that is compiled at its first pass for each shape of its inputs; the network where none is.

    On a GPU, the passes of one shape are replayed as CUDA graphs. Where compilation fails, e.g. for want of a C++
    compiler, a warning is logged and the network runs as it is.
    """
    return _Compiled(network) if is_compiling() else network


class _Compiled:
    def __init__(self, network: nn.Module) -> None:
        on_gpu = any(parameter.is_cuda for parameter in network.parameters())
        self._network = network
        self._run: Callable[..., Tensor] = torch.compile(
            network, dynamic=False, mode="reduce-overhead" if on_gpu else None
        )

    def __call__(self, *inputs: Tensor) -> Tensor:
        try:
            output: Tensor = self._run(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._run is self._network:
                raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            _LOGGER.warning("a network could not be compiled and runs as it is: %s", lines[0])
            self._run = self._network
            output = self._network(*inputs)
        return output
