"""The current content of a data set, and what has changed in it since a row was written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cells import DatasetSpec
from benchmarks.data.datasets.decoded import find_decoded
from benchmarks.data.datasets.file_stamps import FileStamps, count_changed
from benchmarks.data.datasets.loading import load_dataset
from benchmarks.data.datasets.registry import open_dataset
from benchmarks.data.sources.source import Listing, Location
from splitters.errors import DataError
from splitters.methods.protocol import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class CurrentContent:
    """The content of a data set whose files may change.

    Args:
        name: The data set.
        content_hash: The ``dataset_hash`` of its rows; empty if its files are damaged.
        listing: Its files.
        earlier: The listings of earlier contents, by their ``content_hash``.
    """

    name: str
    content_hash: str
    listing: Listing
    earlier: dict[str, Listing]

    def change_since(self, content_hash: str) -> str | None:
        """Describe what has changed since a row was measured; None if nothing has.

        Args:
            content_hash: The row's ``dataset_hash``.
        """
        if content_hash == self.content_hash:
            return None
        if content_hash not in self.earlier:
            return f"{self.name}: the images have changed"
        count = count_changed(self.earlier[content_hash], self.listing)
        return f"{self.name}: {count} file{'s' if count != 1 else ''} changed"


def check_present(spec: DatasetSpec, *, location: Location, last_data_root: bool = False) -> tuple[str, ...]:
    """Check that a data set is there, without reading images, and return what the user should know about its files.

    Args:
        spec: The data set.
        location: Where to look.
        last_data_root: Without a data root, look also in the one in which this data set was found last.

    Raises:
        SplitbenchError: If it is absent; the message names the places that were searched.
    """
    if last_data_root and location.data_root is None:
        location = replace(location, data_root=last_data_root_of(spec, location.cache))
    source = open_dataset(spec.name, location)
    source.check_present()
    return source.warnings()


def last_data_root_of(spec: DatasetSpec, cache: Path) -> Path | None:
    """Return the folder of data sets in which this one was found last, if one was named."""
    return FileStamps.load(spec.name, cache).last_data_root


def current_content(
    spec: DatasetSpec, *, location: Location, progress: ProgressCallback = ignore_progress
) -> CurrentContent | None:
    """Return the current content of a data set; None for data sets whose content is fixed.

    Unchanged files are not read again; others are hashed and decoded.

    Args:
        spec: The data set.
        location: Where to look; without a data root, also in the one in which this data set was found last.
        progress: Called during decoding.

    Raises:
        SplitbenchError: If the data set is unknown or absent.
    """
    stamps = FileStamps.load(spec.name, location.cache)
    location = replace(location, data_root=location.data_root or stamps.last_data_root, download=False)
    listing = open_dataset(spec.name, location).listing()
    if listing is None:
        return None
    try:
        now = load_dataset(
            spec.name,
            input_shape=spec.input_shape,
            data_root=location.data_root,
            cache=location.cache,
            suite_folder=location.suite_folder,
            progress=progress,
        )
    except DataError:
        # The files are there but cannot be read: a cell that needs them fails with the reason.
        return CurrentContent(spec.name, "", listing, {})
    earlier = {}
    for fingerprint, files in stamps.versions:
        decoded = find_decoded(fingerprint, input_shape=spec.input_shape, folder=location.cache / "datasets")
        if decoded is not None:
            earlier[decoded.content_hash] = files
    return CurrentContent(spec.name, now.content_hash, listing, earlier)
