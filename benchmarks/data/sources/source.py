"""The interface of every kind of data set: official train and test images, not yet decoded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

EncodedImage: TypeAlias = "bytes | NDArray[np.uint8]"
"""An image file's bytes, or pixels as ``[height, width]`` or ``[height, width, channel]``."""

Listing: TypeAlias = "dict[str, tuple[int, ...]]"
"""Files by name, each with its size in bytes, the time of its last change in nanoseconds, and other stamps, if any."""


@dataclass(frozen=True)
class Part:
    """The official training images, or the official test images.

    Args:
        name: ``train`` or ``test``.
        labels: The class index of each image, unchecked.
        images: Begins a pass over the images, in the order of the labels.
        locate: Describes where the image at a position is stored, for messages.
    """

    name: str
    labels: NDArray[np.int64]
    images: Callable[[], Iterator[EncodedImage]]
    locate: Callable[[int], str]

    @classmethod
    def of_arrays(cls, name: str, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]) -> Part:
        """Return a part whose images are in memory.

        Args:
            name: ``train`` or ``test``.
            images: ``[image, height, width]`` or ``[image, height, width, channel]``.
            labels: The class index of each image.
        """
        return cls(name, labels.astype(np.int64), lambda: iter(images), lambda index: f"{name} image {index}")


@dataclass(frozen=True)
class Contents:
    """The images of a source.

    Args:
        class_names: The classes, in the order of their labels.
        train: The official training images.
        test: The official test images.
        origin: The source's name or folder, for messages.
    """

    class_names: tuple[str, ...]
    train: Part
    test: Part
    origin: str


class Source(ABC):
    """A data set in the form in which it is stored."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything that the decoded images depend on, without decoding any.

        Raises:
            DataError: If the data set is absent.
        """

    def listing(self) -> Listing | None:
        """Return the files that may change, each with its size and time, without reading any.

        The default is None: the content is fixed. Equal listings must mean equal fingerprints.

        Raises:
            DataError: If the data set is absent.
        """
        return None

    def check_present(self) -> None:
        """Check quickly that the data set is there, or may be fetched, without reading images.

        Raises:
            DataError: If it is absent; the message names the places that were searched.
        """
        self.listing()

    def stored_in(self) -> Path | None:
        """Return the folder of the data set's files; None for data sets without a folder of their own."""
        return None

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know about the files, a sentence each, without decoding images."""
        return ()

    @abstractmethod
    def read(self) -> Contents:
        """Open the data set.

        Raises:
            DataError: If it is absent, incomplete or damaged.
        """


@dataclass(frozen=True)
class Location:
    """Where data sets are looked for.

    Args:
        data_root: Folder of data sets, if one was named.
        cache: Folder that may be written to.
        download: Whether absent data may be fetched.
        suite_folder: The folder of the suite's file, if the name comes from one.
    """

    data_root: Path | None
    cache: Path
    download: bool
    suite_folder: Path | None = None

    @property
    def bases(self) -> tuple[Path, ...]:
        """The folders that relative paths in names may start from, in the order in which they are tried."""
        return (*(base for base in (self.data_root, self.suite_folder) if base is not None), Path())


def list_files(files: Iterable[tuple[str, Path]]) -> Listing:
    """Return named files' sizes, times of change, and times of status change, which programs cannot set."""
    return {
        name: (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        for name, path in files
        for status in [path.stat()]
    }


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Return the SHA-256, in hex, of named files' bytes."""
    total = hashlib.sha256()
    for name, path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        total.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return total.hexdigest()
