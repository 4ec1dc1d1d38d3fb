"""What often is in a file's place: a pointer of Git LFS, or the web page of a failed download."""

from __future__ import annotations

from pathlib import Path

_START_BYTES = 64


def read_start(path: Path) -> bytes:
    """Return a file's first bytes; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_START_BYTES)
    except OSError:
        return b""


def describe_stand_in(start: bytes, *, expected: str) -> str | None:
    """Return what a file is instead of what it should be, and the way out; None if it is neither.

    Args:
        start: The file's bytes, or the first of them.
        expected: What it should be, e.g. ``weights``.
    """
    start = start[:_START_BYTES]
    if start.startswith(b"version https://git-lfs"):
        return f"a Git LFS pointer, not {expected}; fetch the file with 'git lfs pull' in its repository"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"a web page, not {expected}; the download went wrong, so fetch the file again"
    return None
