"""A network's kernels and the maskable channel of each: the result of the channel graph as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

ALWAYS_KEPT = -1
"""The channel index of kernels that every module keeps."""


@dataclass(frozen=True)
class Layer:
    """One convolution of the base model.

    Args:
        name: Its qualified name.
        channels: The maskable channel of each of its kernels, or ``ALWAYS_KEPT``.
    """

    name: str
    channels: tuple[int, ...]

    @property
    def kernels(self) -> int:
        """The number of kernels."""
        return len(self.channels)


@dataclass(frozen=True)
class ChannelGroup:
    """Maskable channels that the same layers produce; residual sums tie several layers.

    Args:
        layers: Indices of the convolutions among ``ChannelLayout.layers``.
        channels: The maskable channels.
    """

    layers: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class ChannelLayout:
    """All convolutions of a network and the M channels of it that modules may drop.

    Args:
        layers: The convolutions, in the order of execution.
        groups: A partition of the maskable channels.
        required: Sets of maskable channels; a module keeps at least one channel of each. They are all groups, and the
            channels of tensors that hold no whole group.
    """

    layers: tuple[Layer, ...]
    groups: tuple[ChannelGroup, ...]
    required: tuple[tuple[int, ...], ...]

    @cached_property
    def n_channels(self) -> int:
        """The number of maskable channels M."""
        return sum(len(group.channels) for group in self.groups)

    @cached_property
    def n_kernels(self) -> int:
        """The number of kernels over all convolutions, tied and frozen ones included."""
        return sum(layer.kernels for layer in self.layers)

    @cached_property
    def kernel_channels(self) -> Int64[Tensor, " kernel"]:
        """The maskable channel, or ``ALWAYS_KEPT``, of every kernel, layer after layer."""
        return torch.tensor([channel for layer in self.layers for channel in layer.channels], dtype=torch.int64)

    @cached_property
    def kernels_per_channel(self) -> Int64[Tensor, " channel"]:
        """The number of kernels that are kept or dropped with each maskable channel."""
        maskable = self.kernel_channels[self.kernel_channels != ALWAYS_KEPT]
        return torch.bincount(maskable, minlength=self.n_channels)

    def required_channels(self, device: torch.device) -> Int64[Tensor, "required member"]:
        """Return the channels of the required sets on a device, one set per row; short rows repeat their first one."""
        if device not in self._required_channels:
            width = max(map(len, self.required), default=0)
            rows = [(*channels, *channels[:1] * (width - len(channels))) for channels in self.required]
            padded = torch.tensor(rows, dtype=torch.int64).view(len(rows), width)
            self._required_channels[device] = padded.to(device)
        return self._required_channels[device]

    @cached_property
    def _required_channels(self) -> dict[torch.device, Tensor]:
        return {}
