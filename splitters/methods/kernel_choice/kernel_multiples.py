"""Kernel counts as multiples, e.g. of 8 for tensor cores: a setting that the splitting methods share."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from splitters.graph.layout import ChannelLayout
from splitters.settings import Settings


def _is_one(value: int) -> bool:
    return value == 1


class KernelMultiples(Settings):
    """Settings of splitters that can round a module's kernel counts up.

    Masks are rounded before they are measured and chosen, so that a module ships as it was measured.

    Args:
        round_to: The channels that a module keeps of each channel group are a multiple of this, or all of them.
    """

    # Left out of dumps at its default, so that the identities of earlier results stay what they were.
    round_to: int = Field(default=1, ge=1, exclude_if=_is_one)


def round_up(
    layout: ChannelLayout,
    bits: Bool[Tensor, "module channel"],
    priority: Float[Tensor, "module channel"],
    multiple: int,
) -> Bool[Tensor, "module channel"]:
    """Add channels until each module keeps a multiple of each channel group, or all of it.

    Args:
        layout: The network's channels.
        bits: True where a module keeps a channel.
        priority: The channels with the highest values are added first; of equal ones, the first.
        multiple: 1 changes nothing.
    """
    if multiple == 1:
        return bits
    rounded = bits.clone()
    for group in layout.groups:
        channels = torch.tensor(group.channels, device=bits.device)
        kept = bits[:, channels]
        counts = -(-kept.sum(1, keepdim=True) // multiple) * multiple
        order = torch.where(kept, torch.inf, priority[:, channels]).argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(
            1, order, torch.arange(len(channels), device=bits.device).expand_as(order)
        )
        rounded[:, channels] = rank < counts
    return rounded


def rounding_warnings(layout: ChannelLayout, multiple: int) -> tuple[str, ...]:
    """Return a warning if rounding leaves no kernel that can be dropped."""
    widest = max((len(group.channels) for group in layout.groups), default=0)
    if not widest or multiple == 1 or multiple < widest:
        return ()
    return (f"no kernel can be dropped: round_to is {multiple}, and no channel group has more than {widest} channels.",)
