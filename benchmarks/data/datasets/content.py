"""What a data set holds now, and what has changed since a row was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.cells import DatasetSpec
from benchmarks.data.datasets.decoded import find_decoded
from benchmarks.data.datasets.file_stamps import Seen, count_changed
from benchmarks.data.datasets.loading import load_dataset
from benchmarks.data.datasets.registry import find_dataset
from benchmarks.data.sources.source import Listing, Location
from splitters.errors import DataError
from splitters.methods.protocol import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class CurrentContent:
    """The content of a data set that lies in files which may change.

    Args:
        name: The data set.
        content_hash: What rows of it carry as ``dataset_hash``; empty if its files are damaged.
        listing: Its files.
        earlier: Listings of contents that were seen before, by their ``content_hash``.
    """

    name: str
    content_hash: str
    listing: Listing
    earlier: dict[str, Listing]

    def change_since(self, content_hash: str) -> str | None:
        """Returns what is not as in the content that a row was measured on, for people; None if nothing is."""
        if content_hash == self.content_hash:
            return None
        if content_hash not in self.earlier:
            return f"{self.name}: the images have changed"
        count = count_changed(self.earlier[content_hash], self.listing)
        return f"{self.name}: {count} file{'s' if count != 1 else ''} changed"


def current_content(
    spec: DatasetSpec, *, data_root: Path | None, cache: Path, progress: ProgressCallback = ignore_progress
) -> CurrentContent | None:
    """Returns what a data set holds now; None for data sets whose content is fixed.

    Files that are as they were when somebody last looked are not read again. Others are hashed and decoded.

    Args:
        spec: The data set.
        data_root: Folder of data sets; without one, that in which this data set was seen last.
        cache: The cache folder.
        progress: Called during decoding.

    Raises:
        SplitbenchError: If the data set is unknown or absent.
    """
    seen = Seen.of(spec.name, cache)
    root = data_root or (Path(seen.data_root) if seen.data_root else None)
    entry, folder = find_dataset(spec.name)
    listing = entry.open(folder, Location(root, cache, download=False)).listing()
    if listing is None:
        return None
    try:
        now = load_dataset(spec.name, input_shape=spec.input_shape, data_root=root, cache=cache, progress=progress)
    except DataError:
        # The files are there, but no data set: whoever runs a cell on them is told why.
        return CurrentContent(spec.name, "", listing, {})
    earlier = {}
    for fingerprint, files in seen.contents:
        decoded = find_decoded(fingerprint, input_shape=spec.input_shape, folder=cache / "datasets")
        if decoded is not None:
            earlier[decoded.content_hash] = files
    return CurrentContent(spec.name, now.content_hash, listing, earlier)
