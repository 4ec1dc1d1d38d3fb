"""From a data set's name to its images."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.data.datasets.dataset import Dataset
from benchmarks.data.datasets.decoded import DecodedPart, decode_once
from benchmarks.data.datasets.file_stamps import FileStamps
from benchmarks.data.datasets.registry import open_dataset
from benchmarks.data.sources.source import Location
from splitters.data import ImageSet
from splitters.data.normalisation import imagenet_statistics
from splitters.errors import ConfigurationError
from splitters.methods.protocol import ProgressCallback, ignore_progress

_DIGITS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def load_dataset(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    data_root: Path | None,
    cache: Path,
    download: bool = False,
    suite_folder: Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Dataset:
    """Return the official images of a data set, decoded into ``cache`` the first time.

    Args:
        name: A name in ``DATASETS``, e.g. ``digits``, ``cifar10`` or ``parquet:FOLDER``.
        input_shape: Channels (1 or 3), height and width that images are brought to.
        data_root: Folder of data sets, if one was named.
        cache: Folder of the decoded images, and of downloads if there is no ``data_root``.
        download: Whether absent data may be fetched.
        suite_folder: The folder of the suite's file, if the name comes from one.
        progress: Called during decoding. It may raise to stop the work; unfinished files are never used.

    Raises:
        UnknownNameError: If there is no data set of that name.
        ConfigurationError: If images cannot be brought to the input shape.
        DataError: If the data set is absent, incomplete or damaged; the message names the file and the row.
    """
    channels, height, width = input_shape
    if channels not in (1, 3) or height < 1 or width < 1:
        raise ConfigurationError(
            f"images cannot be brought to the input shape {input_shape}: channels must be 1 or 3, "
            "height and width at least 1."
        )
    source = open_dataset(name, Location(data_root, cache, download, suite_folder))
    decoded = decode_once(
        source,
        input_shape=input_shape,
        folder=cache / "datasets",
        progress=progress,
        fingerprint=FileStamps.load(name, cache).fingerprint(source, data_root=data_root),
    )
    normalisation = imagenet_statistics(channels)

    def images(part: DecodedPart) -> ImageSet:
        tensors = torch.from_numpy(part.images), torch.from_numpy(part.labels)
        return ImageSet(*tensors, decoded.class_names, normalisation)

    flips = not _are_digits(decoded.class_names)
    return Dataset(
        name,
        images(decoded.train),
        images(decoded.test),
        decoded.content_hash,
        flips,
        seconds=decoded.seconds,
        reused=decoded.reused,
        computed_on=decoded.computed_on,
        warnings=source.warnings(),
    )


def _are_digits(class_names: tuple[str, ...]) -> bool:
    """Return whether the classes, or those of one data set in a union, are digits, judging by their names.

    Classes without names are numbered and count as digits: not to flip them is the safe choice.
    """
    members: dict[str, list[str]] = {}
    for name in class_names:
        member, _, label = name.rpartition("/")
        members.setdefault(member, []).append(label)
    return any(all(label.isdecimal() or label.lower() in _DIGITS for label in labels) for labels in members.values())
