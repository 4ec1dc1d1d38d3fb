"""Which files of a data set are its official training images, and which its test images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.sources.named_folder import NamedFolder
from splitters.errors import DataError

PARTS = ("train", "test")

# A data set without test images is tested on its validation images: ``select`` is cut from the training images.
_TRAIN = re.compile("train")
_TEST = re.compile("test")
_VALIDATION = re.compile("(validation|valid|val)(?![a-z])")
_CHOICES = {"train": (_TRAIN,), "test": (_TEST, _VALIDATION)}

_SHARD = re.compile(r"(?P<stem>.*?)[-_.]?(?P<number>\d+)(?:-of-(?P<count>\d+)(?:-[0-9a-f]+)?)?")


def choose_split(part: str, splits: Iterable[str], name: NamedFolder, folder: Path) -> str | None:
    """Return the split that holds the official ``train`` or ``test`` images; None if there is none.

    Args:
        part: ``train`` or ``test``.
        splits: What the splits are called in the files, e.g. ``training`` and ``val``.
        name: The data set's name, whose option ``train`` or ``test`` names the split.
        folder: The data set's folder, for messages.

    Raises:
        DataError: If several splits may be meant, there is none of the name that the option gives, or the other part's
            images are of the same split.
    """
    splits = sorted(splits)
    chosen, other = (_choose(each, splits, name, folder) for each in (part, "test" if part == "train" else "train"))
    if chosen is not None and chosen == other:
        both = NamedFolder(name.kind, name.folder, {**name.options, "train": "SPLIT", "test": "OTHER"})
        raise DataError(
            f"{folder}: {chosen!r} would be both the train and the test images. Name two of the splits, which are "
            f"{', '.join(splits)}, as in {both}."
        )
    return chosen


def _choose(part: str, splits: Sequence[str], name: NamedFolder, folder: Path) -> str | None:
    chosen = name.options.get(part)
    if chosen is not None:
        if chosen not in splits:
            raise DataError(f"{folder}: there is no split {chosen!r}; there are {', '.join(splits) or 'none'}.")
        return chosen
    for pattern in _CHOICES[part]:
        matching = [split for split in splits if pattern.match(split.lower())]
        if len(matching) > 1:
            raise DataError(
                f"{folder}: {' and '.join(matching)} may both be the {part} images; name one, e.g. "
                f"{name.hint(part, matching[0])}."
            )
        if matching:
            return matching[0]
    return None


def is_split_name(name: str) -> bool:
    """Return whether a folder of this name holds a split's files."""
    return any(pattern.match(name.lower()) for patterns in _CHOICES.values() for pattern in patterns)


@dataclass(frozen=True)
class Shard:
    """One of the files of a split.

    Args:
        path: The file.
        stem: Its name without what numbers it.
        number: The number in its name, if it has one.
        count: The number of files that its name promises, if it does.
    """

    path: Path
    stem: str
    number: int | None = None
    count: int | None = None

    @classmethod
    def of(cls, path: Path) -> Shard:
        """Read a file's name: ``train``, ``train-0``, ``train-00000-of-00005`` or the like."""
        match = _SHARD.fullmatch(path.stem)
        if match is None:
            return cls(path, path.stem)
        count = match["count"]
        return cls(path, match["stem"], int(match["number"]), int(count) if count else None)


def check_shards(split: str, shards: Sequence[Shard]) -> None:
    """Check that a split's files are complete, each there once, and of one export.

    Raises:
        DataError: If one is missing, or one is there twice.
    """
    folders = sorted({str(shard.path.parent) for shard in shards})
    if len(folders) > 1:
        raise DataError(f"{folders[0]} and {folders[1]} both hold {split}; keep one of the two exports.")
    folder = folders[0]
    kinds = {(shard.count, shard.number is None, shard.count and shard.stem) for shard in shards}
    if len(kinds) > 1:
        raise DataError(
            f"{folder}: {_listed(shard.path.name for shard in shards)} are different exports of {split}; keep one."
        )
    files = Counter((shard.stem, shard.number) for shard in shards)
    twice = [shard.path.name for shard in shards if shard.number is not None and files[shard.stem, shard.number] > 1]
    if twice:
        raise DataError(f"{folder}: {_listed(twice)} are the same part of {split}; keep one export.")
    stems = {shard.stem for shard in shards}
    numbers = {shard.number for shard in shards if shard.number is not None}
    if not numbers or len(stems) > 1:
        return
    count = shards[0].count
    if count is None:
        wanted = range(min(numbers), max(numbers) + 1)
    else:
        first = 1 if 0 not in numbers and count in numbers else 0
        wanted = range(first, first + count)
    missing = [number for number in wanted if number not in numbers]
    foreign = [shard.path.name for shard in shards if shard.number not in wanted]
    if foreign:
        raise DataError(f"{folder}: {_listed(foreign)} cannot be one of the {count} files of {split}.")
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of the {len(wanted)} files of {split} missing: number "
            f"{_listed(map(str, missing))}, counted as in {shards[0].path.name}."
        )


def _listed(names: Iterable[str]) -> str:
    first, *others = names
    shown = [first, *others[:3]]
    rest = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"{', '.join(shown)}{rest}"
