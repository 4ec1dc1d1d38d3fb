"""The operations of a canonical graph: their names in module files, and their effect on channels.

A canonical graph holds convolutions, linear layers and per-channel affine layers as modules, and everything else as a
call of a function in ``OPERATIONS``. The table is also the whitelist of module files, which name operations, never
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
from jaxtyping import Float
from torch import Tensor, nn


class ChannelRule(Enum):
    """The effect of an operation on the channels of its inputs."""

    POINTWISE = auto()
    """Element-wise: channels pass; those of several tensors are tied."""
    SPATIAL = auto()
    """Each channel by itself: channels pass, height and width may change."""
    SHAPE = auto()
    """Values move unchanged: the operation is applied to the channel ids themselves."""
    REDUCE = auto()
    """Reduction over axes: channels pass if their axis is not among them."""
    GROUPS = auto()
    """Channels mix within equal parts of all channels: those of a part are tied."""
    MIX = auto()
    """All channels mix: they freeze."""
    NUMBER = auto()
    """The result is a number or a size; of tensors, it is computed element by element."""


@dataclass(frozen=True)
class Operation:
    """A function that canonical graphs may call.

    Args:
        name: Its name in module files.
        function: The function.
        rule: Its effect on channels.
    """

    name: str
    function: Callable[..., Any]
    rule: ChannelRule


class ChannelAffine(nn.Module):
    """A per-channel affine map (axis 1): a batch norm in eval mode that could not be folded into a layer.

    Args:
        scale: One factor per channel.
        shift: Added after scaling.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Float[Tensor, " channel"], shift: Float[Tensor, " channel"]) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x * scale + shift``."""
        shape = [1, -1] + [1] * (x.dim() - 2)
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class ChannelPReLU(nn.Module):
    """A PReLU with one slope per channel (axis 1).

    Args:
        slope: One slope per channel.
    """

    slope: Tensor

    def __init__(self, slope: Float[Tensor, " channel"]) -> None:
        super().__init__()
        self.register_buffer("slope", slope)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` where it is positive, ``slope * x`` elsewhere."""
        return F.prelu(x, self.slope)


def size(x: Tensor, dim: int | None = None) -> Any:
    """Return the size of ``x``, or of one of its axes."""
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
        square=torch.square, reciprocal=torch.reciprocal, sign=torch.sign, log1p=torch.log1p, expm1=torch.expm1,
        erf=torch.erf, sin=torch.sin, cos=torch.cos, floor=torch.floor, ceil=torch.ceil, round=torch.round,
        where=torch.where, gt=operator.gt, ge=operator.ge, lt=operator.lt, le=operator.le, eq=operator.eq,
        ne=operator.ne, bitwise_and=operator.and_, bitwise_or=operator.or_, bitwise_not=operator.invert,
        logical_and=torch.logical_and, logical_or=torch.logical_or, logical_not=torch.logical_not,
        zeros_like=torch.zeros_like, ones_like=torch.ones_like, atan=torch.atan, atan2=torch.atan2, sinh=torch.sinh,
        cosh=torch.cosh, tan=torch.tan, asinh=torch.asinh, log2=torch.log2, log10=torch.log10, exp2=torch.exp2,
        erfc=torch.erfc, fmod=torch.fmod, logaddexp=torch.logaddexp,
        nan_to_num=torch.nan_to_num, heaviside=torch.heaviside, isnan=torch.isnan, isinf=torch.isinf,
        isfinite=torch.isfinite,
    ),
    **_table(
        ChannelRule.SPATIAL,
        max_pool2d=F.max_pool2d, avg_pool2d=F.avg_pool2d, adaptive_avg_pool2d=F.adaptive_avg_pool2d,
        adaptive_max_pool2d=F.adaptive_max_pool2d, lp_pool2d=F.lp_pool2d, interpolate=F.interpolate, pad=F.pad,
        max_pool1d=F.max_pool1d, avg_pool1d=F.avg_pool1d, adaptive_avg_pool1d=F.adaptive_avg_pool1d,
        adaptive_max_pool1d=F.adaptive_max_pool1d, instance_norm=F.instance_norm, grid_sample=F.grid_sample,
    ),
    **_table(
        ChannelRule.SHAPE,
        flatten=torch.flatten, reshape=torch.reshape, transpose=torch.transpose, permute=torch.permute,
        squeeze=torch.squeeze, unsqueeze=torch.unsqueeze, cat=torch.cat, split=torch.split, narrow=torch.narrow,
        expand=Tensor.expand, expand_as=Tensor.expand_as,
        getitem=operator.getitem, flip=torch.flip, index_select=torch.index_select,
        pixel_shuffle=F.pixel_shuffle, pixel_unshuffle=F.pixel_unshuffle,
    ),
    **_table(
        ChannelRule.REDUCE,
        mean=torch.mean, sum=torch.sum, amax=torch.amax, amin=torch.amin, std=torch.std, var=torch.var,
        prod=torch.prod, logsumexp=torch.logsumexp, vector_norm=torch.linalg.vector_norm,
    ),
    **_table(ChannelRule.GROUPS, group_norm=F.group_norm),
    **_table(
        ChannelRule.MIX,
        softmax=F.softmax, log_softmax=F.log_softmax, layer_norm=F.layer_norm, rms_norm=F.rms_norm,
        normalize=F.normalize, local_response_norm=F.local_response_norm, matmul=torch.matmul,
        einsum=torch.einsum, scaled_dot_product_attention=F.scaled_dot_product_attention, argmax=torch.argmax,
        argmin=torch.argmin, cumsum=torch.cumsum, roll=torch.roll, affine_grid=F.affine_grid, topk=torch.topk,
        sort=torch.sort, median=torch.median, cosine_similarity=F.cosine_similarity, cdist=torch.cdist,
    ),
    **_table(ChannelRule.NUMBER, size=size, floordiv=operator.floordiv, mod=operator.mod),
}  # fmt: skip
"""All operations by name."""

_BY_FUNCTION: dict[Callable[..., Any], Operation] = {entry.function: entry for entry in OPERATIONS.values()}


def operation_of(function: object) -> Operation | None:
    """Return the operation of a function, or None."""
    return _BY_FUNCTION.get(function) if callable(function) else None
