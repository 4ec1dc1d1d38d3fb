"""A data set: noisy stripes in four directions."""

from __future__ import annotations

import numpy as np

from benchmarks import Contents, DatasetEntry, Part, Source


class StripesSource(Source):
    """Images of 8x8 pixels, computed anew whenever they are read."""

    def fingerprint(self) -> str:
        """Return a new text whenever the images change."""
        return "stripes, version 1"

    def read(self) -> Contents:
        """Compute the images."""
        names = ("horizontal", "vertical", "falling", "rising")
        return Contents(names, _part("train", 320, seed=0), _part("test", 80, seed=1), "stripes")


def _part(name: str, count: int, *, seed: int) -> Part:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    y, x = np.mgrid[:8, :8]
    distances = np.stack([y, x, y - x, y + x])[labels] + generator.integers(4, size=(count, 1, 1))
    images = 100 * (distances % 4 < 2) + generator.integers(150, size=(count, 8, 8))
    return Part.of_arrays(name, images.astype(np.uint8), labels)


STRIPES = DatasetEntry(
    "noisy stripes in four directions, 8x8 pixels, computed", lambda _folder, _location: StripesSource()
)
