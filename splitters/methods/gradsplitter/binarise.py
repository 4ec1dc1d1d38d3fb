"""From real masks to bits, with a gradient."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splitters.graph.layout import ChannelLayout
from splitters.networks.masks import repair


def kept(layout: ChannelLayout, masks: Float[Tensor, "module channel"]) -> Bool[Tensor, "module channel"]:
    """Returns where real masks keep a channel: where they are positive, and the highest where a layer would be lost."""
    return repair(layout, masks > 0, masks)


class Binarise(torch.autograd.Function):
    """Bits of real masks; the incoming gradient passes straight through, clipped to [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, bits: Tensor) -> Tensor:
        """Returns ``bits`` as numbers in place of the real masks that they were made of."""
        return bits.to(masks.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Clips the gradient."""
        return gradients[0].clamp(-1, 1), None


def binarise(layout: ChannelLayout, masks: Float[Tensor, "module channel"]) -> Float[Tensor, "module channel"]:
    """Returns the bits of real masks as 0 and 1, through which gradients reach the masks."""
    with torch.no_grad():
        bits = kept(layout, masks)
    result: Tensor = Binarise.apply(masks, bits)
    return result
