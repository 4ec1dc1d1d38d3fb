"""The operations of a canonical network graph: their names in module files, and what they do to channels.

A canonical graph holds convolutions, linear layers and per-channel affine layers as modules, and everything else as a
call of a function in ``OPERATIONS``. The table is the whitelist of module files, too: a file names operations, never
code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelRule(Enum):
    """What an operation does to the channels of its inputs."""

    POINTWISE = auto()
    """Each value on its own: channels pass; several tensors tie theirs."""
    SPATIAL = auto()
    """Each channel on its own, over space: channels pass, space may change."""
    SHAPE = auto()
    """Values move and none changes: the operation acts on the channel ids themselves."""
    REDUCE = auto()
    """Sums over axes: channels pass if theirs is not among them."""
    MIX = auto()
    """Channels mix, in a way that leaves no channel out: they freeze."""
    NUMBER = auto()
    """The result is a number or a size, not a tensor."""


@dataclass(frozen=True)
class Operation:
    """One function that canonical graphs may call.

    Args:
        name: Its name in module files.
        function: What is called.
        rule: What it does to channels.
    """

    name: str
    function: Callable[..., Any]
    rule: ChannelRule


class ChannelAffine(nn.Module):
    """A batch norm in eval mode that no convolution could take in: ``x * scale + shift`` per channel (axis 1).

    Args:
        scale: One factor per channel.
        shift: One summand per channel.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``x * scale + shift``."""
        shape = [1, -1] + [1] * (x.dim() - 2)
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class ChannelPReLU(nn.Module):
    """A PReLU with one slope per channel (axis 1).

    Args:
        slope: One slope per channel.
    """

    slope: Tensor

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``x`` where it is positive, ``slope * x`` elsewhere."""
        return F.prelu(x, self.slope)


def size(x: Tensor, dim: int | None = None) -> Any:
    """Returns the size of ``x``, or of one of its axes."""
    return x.size() if dim is None else x.size(dim)


def _table(rule: ChannelRule, **functions: Callable[..., Any]) -> dict[str, Operation]:
    return {name: Operation(name, function, rule) for name, function in functions.items()}


OPERATIONS: dict[str, Operation] = {
    **_table(
        ChannelRule.POINTWISE,
        relu=F.relu, relu6=F.relu6, leaky_relu=F.leaky_relu, elu=F.elu, selu=F.selu, celu=F.celu, gelu=F.gelu,
        silu=F.silu, mish=F.mish, hardswish=F.hardswish, hardsigmoid=F.hardsigmoid, hardtanh=F.hardtanh,
        softplus=F.softplus, softsign=F.softsign, logsigmoid=F.logsigmoid, softshrink=F.softshrink,
        hardshrink=F.hardshrink, tanhshrink=F.tanhshrink, threshold=F.threshold, sigmoid=torch.sigmoid,
        tanh=torch.tanh, exp=torch.exp, log=torch.log, sqrt=torch.sqrt, rsqrt=torch.rsqrt, abs=torch.abs,
        clamp=torch.clamp, neg=operator.neg, add=operator.add, sub=operator.sub, mul=operator.mul,
        div=operator.truediv, pow=operator.pow, maximum=torch.maximum, minimum=torch.minimum,
    ),
    **_table(
        ChannelRule.SPATIAL,
        max_pool2d=F.max_pool2d, avg_pool2d=F.avg_pool2d, adaptive_avg_pool2d=F.adaptive_avg_pool2d,
        adaptive_max_pool2d=F.adaptive_max_pool2d, lp_pool2d=F.lp_pool2d, interpolate=F.interpolate, pad=F.pad,
    ),
    **_table(
        ChannelRule.SHAPE,
        flatten=torch.flatten, reshape=torch.reshape, transpose=torch.transpose, permute=torch.permute,
        squeeze=torch.squeeze, unsqueeze=torch.unsqueeze, cat=torch.cat, split=torch.split, narrow=torch.narrow,
        expand=Tensor.expand, expand_as=Tensor.expand_as,
        getitem=operator.getitem,
    ),
    **_table(ChannelRule.REDUCE, mean=torch.mean, sum=torch.sum, amax=torch.amax, amin=torch.amin),
    **_table(
        ChannelRule.MIX,
        softmax=F.softmax, log_softmax=F.log_softmax, layer_norm=F.layer_norm, group_norm=F.group_norm,
        normalize=F.normalize, local_response_norm=F.local_response_norm, matmul=torch.matmul,
    ),
    **_table(ChannelRule.NUMBER, size=size, floordiv=operator.floordiv, mod=operator.mod),
}  # fmt: skip
"""All operations by name."""

_BY_FUNCTION: dict[Callable[..., Any], Operation] = {entry.function: entry for entry in OPERATIONS.values()}


def operation_of(function: object) -> Operation | None:
    """Returns the operation that calls ``function``, or None if there is none."""
    return _BY_FUNCTION.get(function) if callable(function) else None


PARAMETRIC_MODULES: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear, ChannelAffine, ChannelPReLU)
"""The modules of a canonical graph."""
