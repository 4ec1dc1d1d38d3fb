"""A data set's decoded images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.cache.numeric_environment import ComputeEnvironment
from splitters.data import ImageSet


@dataclass(frozen=True)
class Dataset:
    """The official images of a data set, decoded to one input shape.

    Args:
        name: Its name, e.g. ``cifar10`` or ``folder:cats``.
        train: The official training images.
        test: The official test images.
        content_hash: SHA-256, in hex, of the decoded images, the labels and the class names.
        flips: Whether a mirrored image keeps its label.
        seconds: Wall time of the decoding, whenever it was done.
        reused: Whether that was done earlier.
        computed_on: The machine and versions that did it.
        warnings: What the user should know about the files.
    """

    name: str
    train: ImageSet
    test: ImageSet
    content_hash: str
    flips: bool
    seconds: float = 0.0
    reused: bool = False
    computed_on: ComputeEnvironment | None = None
    warnings: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.train.class_names

    def of_classes(self, names: tuple[str, ...]) -> Dataset:
        """Return the images of some classes, labelled by their position in ``names``.

        Raises:
            DataError: If a name is not among the classes.
        """
        return replace(self, train=self.train.of_classes(names), test=self.test.of_classes(names))
