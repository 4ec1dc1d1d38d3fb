"""Several data sets as one, with the classes of all: ``union:digits+parquet:cifar10``."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate, chain
from pathlib import PurePath

import numpy as np

from benchmarks.data.sources.named_folder import NamedFolder
from benchmarks.data.sources.source import Contents, EncodedImage, Listing, Part, Source
from splitters.errors import DataError

SEPARATOR = "+"


def member_names(text: str) -> tuple[str, ...]:
    """Return the data sets that a union's name joins."""
    return tuple(part.strip() for part in text.split(SEPARATOR))


class UnionSource(Source):
    """Data sets side by side: each class is called ``SET/CLASS``, and train and test images stay what they are.

    Args:
        text: What follows ``union:`` in the name, for messages.
        members: The data sets by name, in the order of the classes.

    Raises:
        DataError: If there are fewer than two, or two go by the same name.
    """

    def __init__(self, text: str, members: Mapping[str, Source]) -> None:
        names = [_short(name) for name in members]
        if len(names) < 2 or len(set(names)) < len(names):
            raise DataError(
                f"union:{text} must join two or more different data sets, e.g. union:digits{SEPARATOR}fashion_mnist."
            )
        self._origin = f"union:{text}"
        self._members = dict(zip(names, members.values(), strict=True))

    def fingerprint(self) -> str:
        """Return a hash of the members' names and fingerprints."""
        lines = "".join(f"{name}\0{source.fingerprint()}\n" for name, source in self._members.items())
        return hashlib.sha256(lines.encode()).hexdigest()

    def listing(self) -> Listing | None:
        """Return the files of all members that have any."""
        listings = {name: source.listing() for name, source in self._members.items()}
        if all(listing is None for listing in listings.values()):
            return None
        return {f"{name}/{file}": facts for name, files in listings.items() for file, facts in (files or {}).items()}

    def check_present(self) -> None:
        """Check each member."""
        for source in self._members.values():
            source.check_present()

    def warnings(self) -> tuple[str, ...]:
        """Return the members' warnings."""
        return tuple(warning for source in self._members.values() for warning in source.warnings())

    def read(self) -> Contents:
        """Open all members."""
        contents = {name: source.read() for name, source in self._members.items()}
        names = tuple(f"{name}/{label}" for name, part in contents.items() for label in part.class_names)
        first_labels = list(accumulate((len(part.class_names) for part in contents.values()), initial=0))
        train = _join([part.train for part in contents.values()], first_labels)
        return Contents(names, train, _join([part.test for part in contents.values()], first_labels), self._origin)


def _join(parts: list[Part], first_labels: list[int]) -> Part:
    starts = list(accumulate((len(part.labels) for part in parts), initial=0))

    def images() -> Iterator[EncodedImage]:
        return chain.from_iterable(part.images() for part in parts)

    def locate(position: int) -> str:
        member = bisect_right(starts, position) - 1
        return parts[member].locate(position - starts[member])

    labels = np.concatenate([part.labels + first for part, first in zip(parts, first_labels, strict=False)])
    return Part(parts[0].name, labels, images, locate)


def _short(name: str) -> str:
    """Return a data set's name without its kind, the path to its folder and its options."""
    kind, colon, text = name.partition(":")
    return PurePath(NamedFolder.parse(kind, text).folder).name if colon else name
