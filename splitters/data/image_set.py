"""Labelled images in memory: whole uint8 sets, normalised batch by batch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from splitters.data.normalisation import AnyNormalisation, Normalisation, typed
from splitters.data.sources import read_arrays, read_dataset, read_folder
from splitters.data.tensor_hash import hash_tensor
from splitters.errors import DataError
from splitters.settings import normalise_class_name


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one role (``train``, ``select`` or ``test``).

    Tensors and numpy arrays are both taken; neither is changed.

    Args:
        images: uint8 images on any device, at least one.
        labels: The class of each image, counted from 0, in any integer type; stored as int64 on the images' device.
        class_names: The N classes, stored in Unicode's composed form (NFC).
        normalisation: How a batch becomes the network's input, as in the network's training; one mean and std per
            image channel. Modules that are cut with these images keep it.

    Raises:
        DataError: If one of these is something else.
    """

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, " sample"]
    class_names: tuple[str, ...]
    normalisation: Normalisation

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        normalisation: AnyNormalisation,
        class_names: Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> ImageSet:
        """Read a folder that has one folder of image files, or folders of them, per class.

        Images are turned upright and transparent pixels become white; they become grey or coloured as the
        normalisation has one channel or three (``none`` has three if any image is coloured). Files that are not
        read, and files of several pictures, are counted in a warning (logger ``splitters``).

        Args:
            folder: The folder.
            normalisation: The network's: a ``Normalisation``, ``imagenet``, or ``none`` for bytes / 255.
            class_names: The classes in the order of the network's logits. Default: the folders' names, sorted.
            size: Height and width to which images are resized. Default: their own, which must be the same for all.

        Raises:
            DataError: If folders and classes differ, a class has no images, or an image cannot be read.
        """
        return cls(**vars(read_folder(folder, normalisation, class_names, size)))

    @classmethod
    def from_dataset(
        cls, dataset: Any, *, normalisation: AnyNormalisation, class_names: Sequence[str] | None = None
    ) -> ImageSet:
        """Read a torch data set of ``(image, label)``, or take a pair ``(images, labels)``.

        Images are PIL images, uint8 pixels, or floats in [0, 1] as ``ToTensor`` makes them; they must be of one size
        and not normalised, because the set's own normalisation is applied to each batch.

        Args:
            dataset: A ``torch.utils.data.Dataset``, or the arguments of ``from_arrays`` as a pair.
            normalisation: The network's: a ``Normalisation``, ``imagenet``, or ``none`` for bytes / 255.
            class_names: The classes in the order of the network's logits. Default: the data set's ``classes``, else
                as in ``from_arrays``.

        Raises:
            DataError: If an image or a label is something else.
        """
        return cls(**vars(read_dataset(dataset, normalisation, class_names)))

    @classmethod
    def from_arrays(
        cls, images: Any, labels: Any, *, normalisation: AnyNormalisation, class_names: Sequence[str] | None = None
    ) -> ImageSet:
        """Take images and labels as arrays or tensors.

        Args:
            images: uint8, or floats in [0, 1] that are bytes / 255: ``[image, channel, height, width]``,
                ``[image, height, width, channel]``, or ``[image, height, width]`` for grey ones. Of 2 or 4
                channels in the last place, the last is opacity; transparent pixels become white.
            labels: The class of each image: integers counted from 0, or names; names agree in any Unicode form.
            normalisation: The network's: a ``Normalisation``, ``imagenet``, or ``none`` for bytes / 255.
            class_names: The classes in the order of the network's logits. Default: the names among the labels,
                sorted, or the integers from 0 to the highest label.

        Raises:
            DataError: If images or labels are something else.
        """
        return cls(**vars(read_arrays(images, labels, normalisation, class_names)))

    def __post_init__(self) -> None:
        """Check that the parts are what they should be and fit each other."""
        if not isinstance(self.normalisation, Normalisation):
            raise DataError(
                f"the normalisation is a splitters.Normalisation, not {self.normalisation!r}; from_arrays takes names."
            )
        images = _as_tensor(self.images, "images", "uint8 [image, channel, height, width]")
        labels = _as_tensor(self.labels, "labels", "integers [image]")
        _check_images(images, self.normalisation)
        labels = _as_int64(labels)
        _check_labels(labels, n_images=len(images), n_classes=self.n_classes)
        strange = [name for name in self.class_names if not isinstance(name, str) or not name.strip()]
        if strange:
            raise DataError(f"class names are strings that are not empty; {strange[0]!r} is none.")
        object.__setattr__(self, "class_names", tuple(map(normalise_class_name, self.class_names)))
        _check_names(self.class_names)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.to(images.device))

    def __len__(self) -> int:
        """Return the number of images."""
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

    @cached_property
    def content_hash(self) -> str:
        """The SHA-256, in hex, of images, labels, class names and normalisation; the same on every device."""
        digest = hashlib.sha256(repr((self.class_names, asdict(self.normalisation))).encode())
        hash_tensor(digest, "images", self.images)
        hash_tensor(digest, "labels", self.labels)
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the same set with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, indices: Int64[Tensor, " chosen"]) -> ImageSet:
        """Return the images at ``indices``, in that order."""
        indices = indices.to(self.images.device)
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def of_classes(self, names: tuple[str, ...]) -> ImageSet:
        """Return the images of some classes, labelled by their position in ``names``.

        Raises:
            DataError: If a name is not among the classes, or no image is of any of them.
        """
        names = tuple(map(normalise_class_name, names))
        unknown = [name for name in names if name not in self.class_names]
        if unknown:
            raise DataError(
                f"there are no images of {', '.join(map(repr, unknown))}; there are images of "
                f"{', '.join(map(repr, self.class_names))}."
            )
        positions = torch.full((self.n_classes,), -1, dtype=torch.int64, device=self.labels.device)
        for position, name in enumerate(names):
            positions[self.class_names.index(name)] = position
        labels = positions[self.labels]
        kept = labels >= 0
        if not bool(kept.any()):
            raise DataError(f"there are no images of {', '.join(map(repr, names))}.")
        return replace(self, images=self.images[kept], labels=labels[kept], class_names=names)

    def batch(
        self, indices: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, " batch"]]:
        """Return the normalised images at ``indices`` and their labels."""
        return self.normalise(self.images[indices]), self.labels[indices]

    def batches(self, batch_size: int) -> Iterator[Float[Tensor, "batch channel height width"]]:
        """Yield all images, normalised and in order; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            yield self.normalise(self.images[start : start + batch_size])

    def normalise(
        self, images: UInt8[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Return (images / 255 - mean) / std; the images must lie on this set's device, which is not waited for."""
        return self.normalisation.apply(images, *self._affine)

    @cached_property
    def _affine(self) -> tuple[Float[Tensor, "1 channel 1 1"], Float[Tensor, "1 channel 1 1"]]:
        return self.normalisation.affine(self.images.device)


def _as_tensor(values: object, name: str, expected: str) -> Tensor:
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        raise DataError(f"{name} are a tensor or a numpy array, {expected}, not a {type(values).__name__}.")
    if values.dtype.kind not in "iu":
        raise DataError(f"{name} are {expected}, not {values.dtype} {list(values.shape)}.")
    if values.dtype.itemsize > 1:
        values = values.astype(np.int64)
    # Copied where torch cannot share the memory, or warns that it must not be written to.
    return torch.from_numpy(values if values.flags.c_contiguous and values.flags.writeable else values.copy())


def _check_images(images: Tensor, normalisation: Normalisation) -> None:
    expected = "images are uint8 [image, channel, height, width]"
    channels = len(normalisation.mean)
    if images.dtype != torch.uint8:
        raise DataError(
            f"{expected}, not {typed(images)}; give the bytes 0 to 255, which are normalised batch by batch."
        )
    if images.dim() != 4:
        raise DataError(f"{expected}, not {typed(images)}.")
    if images.shape[1] != channels and images.shape[3] == channels:
        raise DataError(f"{expected}, not {typed(images)}; channels come before height: images.permute(0, 3, 1, 2).")
    if not images.numel():
        raise DataError(f"{expected}, at least one of at least one pixel, not {typed(images)}.")
    if images.shape[1] != channels:
        raise DataError(
            f"the images have {images.shape[1]} channels, but their normalisation has {channels}; "
            f"give a Normalisation with {images.shape[1]} means and stds."
        )


def _as_int64(labels: Tensor) -> Tensor:
    """Return labels as int64, since torch compares no unsigned integers of more than 8 bits."""
    if labels.dim() != 1 or labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise DataError(f"labels are integers [image], not {typed(labels)}.")
    return labels.to(torch.int64)


def _check_labels(labels: Tensor, *, n_images: int, n_classes: int) -> None:
    if len(labels) != n_images:
        raise DataError(f"{n_images} images but {len(labels)} labels; every image needs one.")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= n_classes:
        way_out = "; subtract 1" if (lowest, highest) == (1, n_classes) else ""
        raise DataError(
            f"labels lie in [{lowest}, {highest}], but there are {n_classes} classes, counted from 0{way_out}."
        )


def _check_names(names: tuple[str, ...]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"the class name {twice[0]!r} occurs twice among {', '.join(map(repr, names))}.")
