"""Folders and URIs as people write them, and the file systems that they lie in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from splitters.errors import ConfigurationError


def open_place(location: str, *, purpose: str) -> tuple[fs.FileSystem, str]:
    """Returns a place's file system, and its path there.

    Args:
        location: A local path, or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        purpose: What the place is for, for messages: "no such place ...".

    Raises:
        ConfigurationError: If the URI leads nowhere.
    """
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{location}: no such place {purpose}: {error}. Give a folder, or a URI such as s3://bucket/folder."
        ) from None
    return filesystem, root.rstrip("/")
