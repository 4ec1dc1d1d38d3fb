"""Folders and URIs as people write them, and their file systems."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from splitters.errors import ConfigurationError

# Without this check, a URI that lacks slashes would become a folder of that name. One letter may be a drive.
_MISSING_SLASH = re.compile(
    r"(?P<scheme>s3|gs|gcs|hdfs|viewfs|abfs|abfss|file|[A-Za-z][A-Za-z0-9+.-]+(?=:/)):/?(?!/)(?P<rest>.*)", re.DOTALL
)

_SILENCE_SECONDS = 60.0


@contextmanager
def network_timeout(seconds: float = _SILENCE_SECONDS) -> Iterator[None]:
    """Let connections that are opened in a block fail where nothing comes for a time; Python's own have no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def open_location(location: str, *, purpose: str) -> tuple[fs.FileSystem, str]:
    """Return a location's file system, and its path there.

    Args:
        location: A local path, or a URI of ``pyarrow.fs`` (``s3://bucket/folder``).
        purpose: What the location is for, to complete the message "no such location ...".

    Raises:
        ConfigurationError: If the URI is malformed, or of an unknown or unreachable kind.
    """
    if not location.strip() or "\0" in unquote(location):
        raise ConfigurationError(
            f"{location!r}: no location {purpose}. Give a folder, or a URI such as s3://bucket/folder."
        )
    mistyped = _MISSING_SLASH.match(location)
    if mistyped:
        leading = "/" if mistyped["scheme"] == "file" else ""
        raise ConfigurationError(
            f"{location}: a URI has two slashes behind its colon; "
            f"did you mean {mistyped['scheme']}://{leading}{mistyped['rest']}?"
        )
    if "://" not in location:
        root = str(Path(location).expanduser().absolute())
        if root != root.encode(errors="replace").decode():
            raise ConfigurationError(
                f"{root!r}: the name of this location {purpose} is not UTF-8. Give another folder."
            )
        return fs.LocalFileSystem(), root
    if "#" in location:
        raise ConfigurationError(
            f"{location}: a # begins a URI's fragment, which names nothing here; for a # in a name, write %23."
        )
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{location}: no such location {purpose}: {error}. Give a folder, or a URI such as s3://bucket/folder."
        ) from None
    return filesystem, root.rstrip("/")
