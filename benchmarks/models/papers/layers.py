"""The pieces that the papers' networks are made of."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from pydantic import Field
from torch import nn

from benchmarks.models.architecture import Architecture
from splitters.errors import ConfigurationError
from splitters.settings import Settings

Norm = Literal["batch", "none"]


class NetSettings(Settings):
    """Settings that the papers' networks share.

    Args:
        width: Scales all channel counts; at least one channel stays.
        norm: What follows each convolution: batch normalisation, or nothing.
        dropout: The share of features that training drops before a linear layer.
    """

    width: float = Field(default=1.0, gt=0, le=16)
    norm: Norm = "batch"
    dropout: float = Field(default=0.5, ge=0, lt=1)


class NamedNet(Architecture):
    """An architecture with settings of its own, checked without building it."""

    settings_model: type[NetSettings]

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Check the settings."""
        self.settings_model.parse(settings, where=where)

    def smallest_side(self, settings: dict[str, object]) -> int:
        """Return the size of which a pixel is left after all poolings."""
        side: int = 2 ** self.poolings(self.settings_model.parse(settings, where="settings"))
        return side

    @abstractmethod
    def poolings(self, settings: NetSettings) -> int:
        """Return how often the network halves its images."""


def scaled(channels: int, width: float) -> int:
    """Return ``width`` times as many channels, rounded, at least one."""
    return max(1, round(channels * width))


def conv_block(inputs: int, kernels: int, *, kernel_size: int = 3, norm: Norm = "batch") -> nn.Sequential:
    """Return a convolution that keeps the image's size, its norm, and ReLU."""
    conv = nn.Conv2d(inputs, kernels, kernel_size, padding=kernel_size // 2, bias=norm == "none")
    norms = [nn.BatchNorm2d(kernels)] if norm == "batch" else []
    return nn.Sequential(conv, *norms, nn.ReLU(inplace=True))


def pooled_size(name: str, input_shape: tuple[int, int, int], *, poolings: int) -> int:
    """Return the size of an image after a number of 2x2 poolings.

    Raises:
        ConfigurationError: If none are.
    """
    _, height, width = input_shape
    pixels = (height >> poolings) * (width >> poolings)
    if not pixels:
        raise ConfigurationError(
            f"images of {height}x{width} pixels are too small for {name}, which halves them {poolings} times; "
            f"use an input_shape of at least {2**poolings}x{2**poolings}."
        )
    return pixels


def initialise(model: nn.Module) -> None:
    """Draw the convolutions' weights from torch's global generator: Kaiming normal over the fan-out, biases zero.

    So does torchvision's VGG. Linear layers keep torch's own initialisation: in three one-cycle epochs of SimCNN at
    width 1/4 on 8,000 images of CIFAR-10 it led to a loss of 1.8, Kaiming normal for them too to 2.1 or worse.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
