"""What every kind of data set offers: official train and test images, not yet decoded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats of image files that are read: those that Pillow decodes by itself. Others start programs (EPS) or fetch files."""

EncodedImage: TypeAlias = "bytes | NDArray[np.uint8]"
"""An image file's bytes, or pixels as ``[height, width]`` or ``[height, width, channel]``."""


Listing: TypeAlias = "dict[str, tuple[int, int]]"
"""Files by name, each with its size in bytes and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class Part:
    """The official training images, or the official test images.

    Args:
        name: ``train`` or ``test``.
        labels: The class index of each image as the source gives it, unchecked.
        images: Starts a pass over the images, in the order of the labels.
        locate: Says where an image stands, by its position, for messages.
    """

    name: str
    labels: NDArray[np.int64]
    images: Callable[[], Iterator[EncodedImage]]
    locate: Callable[[int], str]


@dataclass(frozen=True)
class Contents:
    """All that a source holds.

    Args:
        class_names: The classes, in the order of their labels.
        train: The official training images.
        test: The official test images.
        place: What it is called, or the folder where it lies, for messages.
    """

    class_names: tuple[str, ...]
    train: Part
    test: Part
    place: str


class Source(ABC):
    """A data set where it lies."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a hash of everything that the decoded images depend on, without decoding any.

        Raises:
            DataError: If the data set is absent.
        """

    def listing(self) -> Listing | None:
        """Returns the files that may change, each with its size and time, without reading any.

        None where the content is fixed, which is the default. Where there is a listing, an equal one must mean an equal
        fingerprint.

        Raises:
            DataError: If the data set is absent.
        """
        return None

    @abstractmethod
    def read(self) -> Contents:
        """Opens the data set.

        Raises:
            DataError: If it is absent, incomplete or damaged.
        """


@dataclass(frozen=True)
class Location:
    """Where data sets may be looked for.

    Args:
        data_root: Folder of data sets, if one was named.
        cache: Folder that may be written to.
        download: Whether absent data may be fetched.
    """

    data_root: Path | None
    cache: Path
    download: bool


def list_files(files: Iterable[tuple[str, Path]]) -> Listing:
    """Returns named files' sizes and times."""
    return {name: (status.st_size, status.st_mtime_ns) for name, path in files for status in [path.stat()]}


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Returns the SHA-256, in hex, of named files' bytes."""
    total = hashlib.sha256()
    for name, path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        total.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return total.hexdigest()
