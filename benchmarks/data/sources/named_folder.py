"""Names such as ``folder:pets:test=val``: a folder of images, where it is, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data.sources.source import Location
from splitters.errors import DataError

_NEXT_OPTION = re.compile(r":(?=\w+=)")


@dataclass(frozen=True)
class NamedFolder:
    """What follows ``folder:`` or ``parquet:`` in a data set's name.

    Args:
        kind: ``folder`` or ``parquet``.
        folder: The folder, relative or absolute.
        options: The values of ``:OPTION=VALUE``, by option.
    """

    kind: str
    folder: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, kind: str, text: str) -> NamedFolder:
        """Read ``FOLDER:OPTION=VALUE:...``; whether the options exist is not checked."""
        folder, *options = _NEXT_OPTION.split(text)
        return cls(kind, folder, dict(option.split("=", 1) for option in options))

    def __str__(self) -> str:
        """Return the name."""
        return ":".join([self.kind, self.folder, *(f"{key}={value}" for key, value in self.options.items())])

    def hint(self, option: str, value: str) -> str:
        """Return the name with one more option, for messages that say how to be explicit."""
        return str(NamedFolder(self.kind, self.folder, {**self.options, option: value}))

    def beneath(self, folder: str) -> str:
        """Return the name of a sub-folder, for messages."""
        return str(NamedFolder(self.kind, f"{self.folder}/{folder}", self.options))

    def find(self, location: Location) -> Path:
        """Return the folder's path: in the data root, else beside the suite's file, else in the current folder.

        Raises:
            DataError: If it is in none of them.
        """
        candidates = [base / Path(self.folder).expanduser() for base in location.bases]
        for path in candidates:
            if path.is_dir():
                return path
        tried = " nor ".join(dict.fromkeys(str(path) for path in candidates))
        raise DataError(
            f"{self}: {tried} is no folder. Type --data-root DIR, where DIR holds {self.folder}, "
            f"or give the folder's whole path as {self.kind}:/PATH."
        )
