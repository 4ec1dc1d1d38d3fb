"""Picking channels out of images and weights."""

from __future__ import annotations

from jaxtyping import Int64
from torch import Tensor


def take_channels(x: Tensor, channels: Int64[Tensor, " kept"]) -> Tensor:
    """Return some channels of images or of a convolution's inputs, in ``channels_last`` memory order.

    Args:
        x: ``[batch, channel, height, width]``, in either memory order.
        channels: Their positions.
    """
    last = x.permute(0, 2, 3, 1)
    # ``index_select`` along the innermost axis copies value by value, up to seven times as slow.
    return last.gather(3, channels.expand(*last.shape[:3], -1)).permute(0, 3, 1, 2)
