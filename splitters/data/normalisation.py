"""The normalisation of images, batch by batch on the device that holds them."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splitters.errors import DataError


@dataclass(frozen=True, order=True)
class Normalisation:
    """The mean and standard deviation of each image channel, for values in [0, 1].

    Args:
        mean: Subtracted from each image channel.
        std: Divides each image channel afterwards; positive.

    Raises:
        DataError: If the two differ in length, a number is not finite, or a std is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the numbers."""
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not self.mean or len(self.mean) != len(self.std) or not finite or min(self.std) <= 0:
            raise DataError(
                f"a normalisation has one finite mean and one positive std per image channel, not mean={self.mean} and "
                f"std={self.std}."
            )

    def __call__(
        self, images: UInt8[Tensor, "sample channel height width"]
    ) -> Float[Tensor, "sample channel height width"]:
        """Return ``(images / 255 - mean) / std`` in float32 and ``channels_last`` memory order.

        Raises:
            DataError: If the images are not uint8.
        """
        if images.dtype != torch.uint8:
            raise DataError(f"only uint8 images are normalised, not {typed(images)}; floats may be normalised already.")
        return self.apply(images, *self.affine(images.device))

    @staticmethod
    def apply(
        images: UInt8[Tensor, "sample channel height width"],
        scale: Float[Tensor, "1 channel 1 1"],
        shift: Float[Tensor, "1 channel 1 1"],
    ) -> Float[Tensor, "sample channel height width"]:
        """Return images normalised by the numbers that ``affine`` returned for their device.

        Unlike ``__call__``, it copies nothing to the device and so does not wait for it.
        """
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        return floats.mul_(scale).add_(shift)

    def affine(self, device: torch.device) -> tuple[Float[Tensor, "1 channel 1 1"], Float[Tensor, "1 channel 1 1"]]:
        """Return the scale and the shift that normalise a byte."""
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        return 1 / (255 * std), -mean / std


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""ImageNet's statistics, which the papers use for every data set."""

_LUMA = (0.299, 0.587, 0.114)


def imagenet_statistics(channels: int) -> Normalisation:
    """Return ImageNet's statistics: of three channels, or else of the luma, as if the three varied together."""
    if channels == len(IMAGENET.mean):
        return IMAGENET
    mean, std = (sum(map(operator.mul, _LUMA, values)) for values in (IMAGENET.mean, IMAGENET.std))
    return Normalisation((mean,) * channels, (std,) * channels)


AnyNormalisation: TypeAlias = Normalisation | Literal["imagenet", "none"]
"""A normalisation, or its name: ``none`` only scales bytes to [0, 1]."""


def as_normalisation(value: AnyNormalisation, *, channels: int) -> Normalisation:
    """Return the normalisation of a name, or a given one.

    Args:
        value: The normalisation or its name.
        channels: Image channels, for ``none``.

    Raises:
        DataError: If there is no normalisation of that name.
    """
    if isinstance(value, Normalisation):
        return value
    if value == "imagenet":
        return IMAGENET
    if value == "none":
        return Normalisation((0.0,) * channels, (1.0,) * channels)
    raise DataError(f"a normalisation is splitters.Normalisation(mean, std), 'imagenet' or 'none', not {value!r}.")


def typed(tensor: Tensor) -> str:
    """Return a tensor's type and shape, for messages."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
