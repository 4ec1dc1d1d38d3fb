"""Locations of results as text: folders, and URIs whose path ends where their ``?`` begins."""

from __future__ import annotations

import os
from urllib.parse import unquote


def beneath(location: str, name: str) -> str:
    """Returns the location of that name in a folder or URI; a URI's options stay behind its ``?``."""
    path, options = _split(location)
    return f"{path.rstrip('/')}/{name}{options}"


def parent_of(location: str) -> str:
    """Returns the folder or URI that holds this one; a URI of a bucket alone holds itself."""
    path, options = _split(location)
    if not _is_uri(location):
        return os.path.normpath(f"{path}/..") if path.rstrip("/") else path
    scheme, _, rest = path.rstrip("/").partition("://")
    return f"{scheme}://{rest.rpartition('/')[0] or rest}{options}"


def last_part(location: str) -> str:
    """Returns the name of a folder, or the last part of a URI's path; empty if there is none."""
    if not _is_uri(location):
        return os.path.basename(os.path.abspath(location))
    path, _ = _split(location)
    name = unquote(path.partition("://")[2]).rstrip("/").rpartition("/")[2]
    return "" if name in (".", "..") else name


def _is_uri(location: str) -> bool:
    return "://" in location


def _split(location: str) -> tuple[str, str]:
    """Returns a location up to a URI's ``?``, and the rest."""
    if not _is_uri(location):
        return location, ""
    path, mark, options = location.partition("?")
    return path, mark + options
