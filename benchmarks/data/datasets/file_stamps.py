"""Sizes and times of a data set's files, remembered with their hash, so that unchanged files are not read again."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cache.tensor_file import temporary_beside
from benchmarks.cells import content_hash
from benchmarks.data.sources.source import Listing, Source

_MAX_VERSIONS = 8
"""Versions of one data set that are remembered."""

_SETTLED_NS = 2_000_000_000
"""Younger files are not remembered: they might change again within the resolution of their time stamps."""


@dataclass(frozen=True)
class FileStamps:
    """The remembered file stamps of one data set.

    Args:
        path: The file that stores them.
        data_root: The folder of data sets in which it was found last, if one was named.
        versions: Each version's fingerprint and listing; the latest last.
    """

    path: Path
    data_root: str | None
    versions: tuple[tuple[str, Listing], ...]

    @classmethod
    def load(cls, name: str, cache: Path) -> FileStamps:
        """Return what the cache folder remembers of a data set: nothing if the file is damaged or absent."""
        path = cache / "datasets" / "seen" / f"{content_hash({'name': name})}.json"
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
            versions = [
                (str(entry["fingerprint"]), {name: tuple(map(int, stamp)) for name, stamp in entry["files"].items()})
                for entry in values["contents"]
            ]
            data_root = values["data_root"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, None, ())
        return cls(path, data_root if isinstance(data_root, str) else None, tuple(versions))

    @property
    def last_data_root(self) -> Path | None:
        """The folder of data sets in which this one was found last, if one was named."""
        return Path(self.data_root) if self.data_root else None

    def fingerprint(self, source: Source, *, data_root: Path | None) -> str:
        """Return a source's fingerprint, computed only if a file has changed since it was remembered.

        Raises:
            DataError: If the data set is absent.
        """
        listing = source.listing()
        if listing is None:
            return source.fingerprint()
        for fingerprint, files in self.versions:
            if files == listing:
                if data_root is not None and str(data_root) != self.data_root:  # the folder has moved
                    replace(self, data_root=str(data_root))._write()
                return fingerprint
        began = time.time_ns()
        fingerprint = source.fingerprint()
        latest = max((when for _, when, *_ in listing.values()), default=0)
        if source.listing() == listing and latest < began - _SETTLED_NS:
            others = [entry for entry in self.versions if entry[0] != fingerprint]
            kept = (*others[1 - _MAX_VERSIONS :], (fingerprint, listing))
            replace(self, data_root=str(data_root) if data_root else None, versions=kept)._write()
        return fingerprint

    def _write(self) -> None:
        entries = [{"fingerprint": fingerprint, "files": files} for fingerprint, files in self.versions]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(self.path)
        temporary.write_text(json.dumps({"data_root": self.data_root, "contents": entries}), encoding="utf-8")
        os.replace(temporary, self.path)


def count_changed(before: Listing, now: Listing) -> int:
    """Return the number of files that were added, removed or changed.

    Judged by size and time; where these say that none was, by the time of status change, which a copy alters as well.
    """
    absent = (-1,)
    pairs = [(before.get(name, absent), now.get(name, absent)) for name in {*before, *now}]
    return sum(old[:2] != new[:2] for old, new in pairs) or sum(old != new for old, new in pairs)
