"""scikit-learn's handwritten digits."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.sources.source import Contents, Part, Source

_TEST_EVERY = 5
_BRIGHTEST = 16


class DigitsSource(Source):
    """The 1797 images of 8x8 pixels that scikit-learn ships.

    They have no official test set: every fifth image of each class, in the order of the data, belongs to ``test``. That
    does not depend on a seed, so ``test`` is the same for everybody.
    """

    def fingerprint(self) -> str:
        """Return scikit-learn's version: the images are part of the package."""
        return f"scikit-learn {version('scikit-learn')} digits"

    def read(self) -> Contents:
        """Read the images and separate the test set."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        pixels = np.rint(images.reshape(-1, 8, 8) * (255 / _BRIGHTEST)).astype(np.uint8)
        is_test = _every_fifth_of_each_class(labels)
        names = tuple(str(digit) for digit in range(10))
        train = Part.of_arrays("train", pixels[~is_test], labels[~is_test])
        test = Part.of_arrays("test", pixels[is_test], labels[is_test])
        return Contents(names, train, test, "digits")


def _every_fifth_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    return chosen
