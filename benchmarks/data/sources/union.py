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
from splitters.errors import ConfigurationError, DataError

SEPARATOR = "+"


def member_names(text: str) -> tuple[str, ...]:
    """Return the data sets that a union's name joins.

    Args:
        text: What follows ``union:`` in the name.

    Raises:
        ConfigurationError: If the name joins fewer than two data sets, nests a union, or has one data set twice.
    """
    names = tuple(part.strip() for part in text.split(SEPARATOR))
    called = _labels(names)
    twice = next((name for name in called if called.count(name) > 1), None)
    if not all(names) or len(names) < 2:
        reason = f"joins two or more data sets, e.g. union:digits{SEPARATOR}fashion_mnist"
    elif any(name.startswith("union:") for name in names):
        inner = SEPARATOR.join(name.removeprefix("union:") for name in names)
        reason = f"holds another union; write union:{inner}"
    elif twice is not None:
        reason = f"holds {twice!r} twice; name each data set once"
    else:
        return names
    raise ConfigurationError(f"data set 'union:{text}' {reason}.")


class UnionSource(Source):
    """Data sets side by side: each class is called ``SET/CLASS``, and train and test images stay what they are.

    Args:
        text: What follows ``union:`` in the name, for messages.
        members: The data sets by name, in the order of the classes.

    Raises:
        DataError: If two are of one kind and in one folder, whose paths differ.
    """

    def __init__(self, text: str, members: Mapping[str, Source]) -> None:
        self._origin = f"union:{text}"
        self._members = dict(zip(_labels(tuple(members)), members.values(), strict=True))
        folders = {name: (source.stored_in(), type(source)) for name, source in members.items()}
        self._refuse_equal(
            {name: (folder.resolve(), kind) for name, (folder, kind) in folders.items() if folder is not None},
            "are one folder",
        )

    def fingerprint(self) -> str:
        """Return a hash of the members' names and fingerprints.

        Raises:
            DataError: If one is absent, or two are equal.
        """
        fingerprints = {name: source.fingerprint() for name, source in self._members.items()}
        self._refuse_equal(fingerprints, "hold the same images")
        lines = "".join(f"{name}\0{fingerprint}\n" for name, fingerprint in fingerprints.items())
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

    def _refuse_equal(self, values: Mapping[str, object], what: str) -> None:
        """Refuse members with equal values: each of their images would be in two classes."""
        first: dict[object, str] = {}
        for name, value in values.items():
            if (other := first.setdefault(value, name)) != name:
                raise DataError(f"data set {self._origin!r}: {other!r} and {name!r} {what}; name each data set once.")


def _join(parts: list[Part], first_labels: list[int]) -> Part:
    starts = list(accumulate((len(part.labels) for part in parts), initial=0))

    def images() -> Iterator[EncodedImage]:
        return chain.from_iterable(part.images() for part in parts)

    def locate(position: int) -> str:
        member = bisect_right(starts, position) - 1
        return parts[member].locate(position - starts[member])

    labels = np.concatenate([part.labels + first for part, first in zip(parts, first_labels, strict=False)])
    return Part(parts[0].name, labels, images, locate)


def _labels(names: tuple[str, ...]) -> list[str]:
    """Return each data set's name before its classes.

    It is the last component of the data set's folder; where two would be called alike, the whole folder, or at last its
    kind, too.
    """
    folders = [_folder(name) for name in names]
    labels = [
        f"{name.partition(':')[0]}:{folder.as_posix()}" if ":" in name else name
        for name, folder in zip(names, folders, strict=True)
    ]
    for shorter in ([folder.as_posix() for folder in folders], [folder.name for folder in folders]):
        labels = [short if shorter.count(short) == 1 else label for short, label in zip(shorter, labels, strict=True)]
    return labels


def _folder(name: str) -> PurePath:
    """Return a data set's folder, without the name's kind and options; for names without a folder, the name."""
    kind, colon, text = name.partition(":")
    return PurePath(NamedFolder.parse(kind, text).folder if colon else name)
