"""Images in memory: whole uint8 sets, normalised in batches on the device that they lie on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from splitters.errors import DataError


@dataclass(frozen=True, order=True)
class Normalisation:
    """The mean and standard deviation, per image channel, of values in [0, 1].

    Args:
        mean: Subtracted from each image channel.
        std: What each image channel is then divided by.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(
        self, images: UInt8[Tensor, "sample channel height width"]
    ) -> Float[Tensor, "sample channel height width"]:
        """Returns ``(images / 255 - mean) / std`` in float32 and ``channels_last`` memory order."""
        scale, shift = self.affine(images.device)
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        return floats.mul_(scale).add_(shift)

    def affine(self, device: torch.device) -> tuple[Float[Tensor, "1 channel 1 1"], Float[Tensor, "1 channel 1 1"]]:
        """Returns the scale and shift that take a byte to its normalised value."""
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        return 1 / (255 * std), -mean / std


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""ImageNet's statistics, which the papers use for every data set."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one role (``train``, ``select`` or ``test``).

    Args:
        images: Bytes, on any device.
        labels: The class index of each image.
        class_names: The name of each class; its length is the number of classes N.
        normalisation: How a batch becomes the network's input.
    """

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, " sample"]
    class_names: tuple[str, ...]
    normalisation: Normalisation = IMAGENET

    def __post_init__(self) -> None:
        """Checks that images and labels fit each other."""
        if self.images.shape[0] != self.labels.shape[0]:
            raise DataError(f"{self.images.shape[0]} images but {self.labels.shape[0]} labels.")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.n_classes:
            raise DataError(
                f"labels lie in [{int(self.labels.min())}, {int(self.labels.max())}], "
                f"but there are {self.n_classes} classes, counted from 0."
            )

    def __len__(self) -> int:
        """Returns the number of images."""
        return self.images.shape[0]

    @property
    def n_classes(self) -> int:
        """The number of classes N."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Image channels, height and width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> ImageSet:
        """Returns the same set with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, indices: Int64[Tensor, " chosen"]) -> ImageSet:
        """Returns the images at ``indices``, in that order."""
        indices = indices.to(self.images.device)
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def of_classes(self, names: tuple[str, ...]) -> ImageSet:
        """Returns the images of some classes, labelled by their place among ``names``.

        Raises:
            DataError: If a name is not among the classes.
        """
        unknown = [name for name in names if name not in self.class_names]
        if unknown:
            raise DataError(
                f"there are no images of {', '.join(map(repr, unknown))}; there are images of "
                f"{', '.join(map(repr, self.class_names))}."
            )
        places = torch.full((self.n_classes,), -1, dtype=torch.int64, device=self.labels.device)
        for place, name in enumerate(names):
            places[self.class_names.index(name)] = place
        labels = places[self.labels]
        kept = labels >= 0
        return replace(self, images=self.images[kept], labels=labels[kept], class_names=names)

    def batch(
        self, indices: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, " batch"]]:
        """Returns the normalised images at ``indices``, and their labels."""
        return self.normalisation(self.images[indices]), self.labels[indices]

    def batches(self, batch_size: int) -> Iterator[Float[Tensor, "batch channel height width"]]:
        """Yields all images, normalised and in order, ``batch_size`` at a time; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            yield self.normalisation(self.images[start : start + batch_size])
