"""Data sets that torchvision fetches and reads."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cache.file_locks import file_lock
from benchmarks.cache.locations import network_timeout
from benchmarks.data.sources.source import Contents, Location, Part, Source, hash_files
from splitters.errors import DataError
from splitters.methods.protocol import ignore_progress


@dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's data sets.

    Args:
        class_name: Its class in ``torchvision.datasets``.
        description: One line for people.
        files: The files that torchvision reads, relative to the data root.
    """

    class_name: str
    description: str
    files: tuple[str, ...]


def _idx_files(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/raw/{part}-{kind}" for part in ("train", "t10k") for kind in _IDX_KINDS)


_IDX_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_CIFAR10_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

TORCHVISION_SETS = {
    "cifar10": TorchvisionSet(
        "CIFAR10",
        "CIFAR-10: 60,000 colour photographs of 32x32 pixels, 10 classes",
        tuple(f"cifar-10-batches-py/{name}" for name in _CIFAR10_FILES),
    ),
    "cifar100": TorchvisionSet(
        "CIFAR100",
        "CIFAR-100: 60,000 colour photographs of 32x32 pixels, 100 classes",
        tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
    ),
    "svhn": TorchvisionSet(
        "SVHN",
        "SVHN: 99,289 house-number digits of 32x32 pixels in colour",
        ("train_32x32.mat", "test_32x32.mat"),
    ),
    "mnist": TorchvisionSet("MNIST", "MNIST: 70,000 handwritten digits of 28x28 pixels", _idx_files("MNIST")),
    "fashion_mnist": TorchvisionSet(
        "FashionMNIST",
        "Fashion-MNIST: 70,000 grey pictures of clothes of 28x28 pixels, 10 classes",
        _idx_files("FashionMNIST"),
    ),
}
"""torchvision's data sets by their names here."""

_DIGIT_SETS = frozenset({"mnist", "svhn"})


class TorchvisionSource(Source):
    """A data set in torchvision's folder layout.

    Args:
        name: A name in ``TORCHVISION_SETS``.
        location: Where to look, and whether to fetch.
    """

    def __init__(self, name: str, location: Location) -> None:
        self._name = name
        self._set = TORCHVISION_SETS[name]
        self._location = location
        self._root = location.data_root or location.cache / "downloads"

    @classmethod
    def open(cls, name: str, _folder: str, location: Location) -> TorchvisionSource:
        """Return the source of the data set ``name``."""
        return cls(name, location)

    def fingerprint(self) -> str:
        """Return a hash of the files, which are fetched first if they may be.

        Raises:
            DataError: If a file is absent.
        """
        if self._absent_file() is not None and self._location.download:
            self._download()
        self._check_files()
        return hash_files((name, self._root / name) for name in self._set.files)

    def check_present(self) -> None:
        """Check that all files are there, unless they may be fetched."""
        if not self._location.download:
            self._check_files()

    def read(self) -> Contents:
        """Read all images into memory.

        Raises:
            DataError: If a file is absent or damaged.
        """
        with self._errors_explained("read"):
            train, test = self._open(is_train=True), self._open(is_train=False)
        names = _digit_names() if self._name in _DIGIT_SETS else tuple(str(name) for name in train.classes)
        return Contents(names, self._part("train", train), self._part("test", test), f"{self._name} in {self._root}")

    def _check_files(self) -> None:
        absent = self._absent_file()
        if absent is not None:
            raise DataError(
                f"{self._name}: there is no {absent} under {self._root}. Type --data-root DIR to name the folder that "
                f"holds it, or --download to fetch it (torchvision.datasets.{self._set.class_name}) into that folder."
            )

    def _absent_file(self) -> str | None:
        return next((name for name in self._set.files if not (self._root / name).is_file()), None)

    def _download(self) -> None:
        lock = self._location.cache / "downloads" / f"{self._name}.lock"
        # torchvision writes files under their final names, where two writers would damage them: wait without limit.
        waiting = file_lock(lock, progress=ignore_progress, stage="download", silent_after=None)
        with waiting, self._errors_explained("fetched"), network_timeout():
            for is_train in (True, False):
                self._open(is_train=is_train, download=True)

    def _open(self, *, is_train: bool, download: bool = False) -> Any:
        import torchvision.datasets

        cls = getattr(torchvision.datasets, self._set.class_name)
        part = {"split": "train" if is_train else "test"} if self._name == "svhn" else {"train": is_train}
        return cls(self._root, download=download, **part)

    def _part(self, part: str, images: Any) -> Part:
        labels = images.labels if self._name == "svhn" else images.targets
        pixels = _channels_last(np.asarray(images.data))
        return Part(
            part,
            np.asarray(labels, dtype=np.int64),
            lambda: iter(pixels),
            lambda i: f"{self._name}, {part} image {i}",
        )

    @contextmanager
    def _errors_explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError, EOFError, AssertionError, pickle.UnpicklingError) as error:
            raise DataError(
                f"{self._name}: it could not be {verb} ({error}). Remove its files under {self._root} and type "
                "--download to fetch them again."
            ) from error


def _digit_names() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))


def _channels_last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``[sample, height, width(, channel)]``; SVHN's come with the channels first."""
    return pixels.transpose(0, 2, 3, 1) if pixels.ndim == 4 and pixels.shape[1] == 3 else pixels
