"""Which files a data set was made of when its content was hashed: whether they are the same is seen at a glance."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cells import content_hash
from benchmarks.data.sources.source import Listing, Source

_KEPT = 8
"""Contents of one data set that are remembered."""

_SETTLED_NS = 2_000_000_000
"""A file that was written this shortly before it was hashed might be written again without another time stamp."""


@dataclass(frozen=True)
class Seen:
    """What is remembered of one data set.

    Args:
        path: The file that remembers it.
        data_root: The folder of data sets in which it was seen last, if one was named.
        contents: The listings that were seen, each with the fingerprint of the content; the latest last.
    """

    path: Path
    data_root: str | None
    contents: tuple[tuple[str, Listing], ...]

    @classmethod
    def of(cls, name: str, cache: Path) -> Seen:
        """Returns what the cache folder remembers of a data set; nothing where it is damaged or absent."""
        path = cache / "datasets" / "seen" / f"{content_hash({'name': name})}.json"
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
            contents = [
                (str(entry["fingerprint"]), {name: (int(size), int(at)) for name, (size, at) in entry["files"].items()})
                for entry in values["contents"]
            ]
            data_root = values["data_root"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, None, ())
        return cls(path, data_root if isinstance(data_root, str) else None, tuple(contents))

    def fingerprint(self, source: Source, *, data_root: Path | None) -> str:
        """Returns a source's fingerprint: remembered if all files are as they were, else hashed now and remembered.

        Raises:
            DataError: If the data set is absent.
        """
        listing = source.listing()
        if listing is None:
            return source.fingerprint()
        for fingerprint, files in self.contents:
            if files == listing:
                return fingerprint
        began = time.time_ns()
        fingerprint = source.fingerprint()
        latest = max((when for _, when in listing.values()), default=0)
        if source.listing() == listing and latest < began - _SETTLED_NS:
            others = [entry for entry in self.contents if entry[0] != fingerprint]
            kept = (*others[1 - _KEPT :], (fingerprint, listing))
            replace(self, data_root=str(data_root) if data_root else None, contents=kept)._write()
        return fingerprint

    def _write(self) -> None:
        entries = [{"fingerprint": fingerprint, "files": files} for fingerprint, files in self.contents]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"data_root": self.data_root, "contents": entries}), encoding="utf-8")
        os.replace(temporary, self.path)


def count_changed(before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]) -> int:
    """Returns how many files came, went, or have another size or time."""
    return sum(before.get(name) != now.get(name) for name in {*before, *now})
