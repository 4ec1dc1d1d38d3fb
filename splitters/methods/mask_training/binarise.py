"""Binarisation of real masks with a straight-through gradient."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splitters.graph.layout import ChannelLayout
from splitters.networks.masks import repair


def kept_channels(layout: ChannelLayout, masks: Float[Tensor, "module channel"]) -> Bool[Tensor, "module channel"]:
    """Return the channels that real masks keep: the positive ones, and the highest where a layer would be lost."""
    return repair(layout, masks > 0, masks)


class Binarise(torch.autograd.Function):
    """Bits of real masks; the backward pass clips the incoming gradient to [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, bits: Tensor) -> Tensor:
        """Return the bits as floats, 0 and 1."""
        return bits.to(masks.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Clip the gradient."""
        return gradients[0].clamp(-1, 1), None


def binarise(layout: ChannelLayout, masks: Float[Tensor, "module channel"]) -> Float[Tensor, "module channel"]:
    """Return the bits of real masks, as 0 and 1; gradients flow to the masks."""
    with torch.no_grad():
        bits = kept_channels(layout, masks)
    result: Tensor = Binarise.apply(masks, bits)
    return result
