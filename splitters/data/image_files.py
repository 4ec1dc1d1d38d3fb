"""Image files in folders, and what is said of the files among them that are not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from splitters.data.pictures import IMAGE_FORMATS


def is_image_file(path: Path) -> bool:
    """Return whether a file has the suffix of an image format that is read, and is no link to a file that is gone."""
    return path.suffix.lower() in _suffixes() and path.is_file()


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in IMAGE_FORMATS)


def files_in(folder: Path) -> list[Path]:
    """Return all files in a folder and its sub-folders, in order, without hidden ones; links are followed once.

    Links to what is gone are among them.
    """
    found: list[Path] = []
    visited = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(parent))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(parent, name)) not in visited
        ]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(found)


def describe_animated(animated: Sequence[Path], root: Path) -> str:
    """Return a clause on files of several pictures: how many, and an example."""
    files = "1 file holds" if len(animated) == 1 else f"{len(animated)} files hold"
    return f"{files} several pictures, of which the first is read, e.g. {animated[0].relative_to(root).as_posix()}."


def describe_skipped(skipped: Sequence[Path], root: Path) -> str:
    """Return a clause on files that are not read: how many, of which kinds, and an example."""
    kinds = Counter(path.suffix.lower() or "no suffix" for path in skipped)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    files = f"{len(skipped)} file{'s are' if len(skipped) != 1 else ' is'}"
    return f"{files} not read ({counts}), e.g. {skipped[0].relative_to(root).as_posix()}."
