"""Locations of results: folders, and URIs whose path ends where their ``?`` begins."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from harness.store.files import Storage

_LEVELS_ABOVE = 3
"""A partition's folder, rows/in_scenario=S/in_dataset=D, is this many levels below the results."""

_LEVELS_BELOW = 2
_MAX_FOLDERS = 50
_MAX_NAMED = 5


def beneath(location: str, name: str) -> str:
    """Return the location of a name in a folder or URI; a URI's options stay behind its ``?``."""
    host, path, options = _split(location)
    return f"{host}{path.rstrip('/')}/{name}{options}"


def without_secret(location: str) -> str:
    """Return a URI without the key and the secret that may stand before its bucket, for what others will read."""
    return re.sub(r"^([\w+.-]+://)[^/@]*:[^/@]*@", r"\1", location)


def parent_of(location: str) -> str:
    """Return the parent of a folder or URI; that of a bucket is the bucket itself."""
    host, path, options = _split(location)
    if not host:
        return os.path.normpath(f"{path}/..") if path.rstrip("/") else path
    parent = path.rstrip("/").rpartition("/")[0]
    return f"{host}{parent or ('/' if host.endswith('://') else '')}{options}"


def last_part(location: str) -> str:
    """Return the name of a folder, or the last part of a URI's path; empty if there is none."""
    host, path, _ = _split(location)
    if not host:
        return os.path.basename(os.path.abspath(path))
    name = unquote(path).rstrip("/").rpartition("/")[2] or host.partition("://")[2].rpartition("@")[2]
    return "" if name in (".", "..") else name


def results_around(location: str) -> str | None:
    """Return the results in whose ``rows/`` a folder or URI is: its files would be read as theirs."""
    for _ in range(_LEVELS_ABOVE):
        name, location = last_part(location), parent_of(location)
        if name == "rows" and _has_rows(Storage(location)):
            return location
    return None


def results_near(location: str, storage: Storage, *, has_uri: bool) -> list[str]:
    """Return the location of results above a folder or, if there are none, of those up to two levels below it.

    Args:
        location: The folder.
        storage: The same folder.
        has_uri: Whether ``location`` alone leads to it, so that its parents can be opened.
    """
    above = location
    for _ in range(_LEVELS_ABOVE if has_uri else 0):
        above = parent_of(above)
        if _has_rows(Storage(above)):
            return [above]
    folders = [""]
    for _ in range(_LEVELS_BELOW):
        folders = [f"{folder}{name}/" for folder in folders for name in storage.folders(folder)[:_MAX_FOLDERS]]
        found = [folder.rstrip("/") for folder in folders if _has_rows(storage, folder)]
        if found:
            below = [beneath(location, folder) for folder in found[:_MAX_NAMED]]
            return [name if _is_uri(name) else os.path.normpath(name) for name in below]
    return []


def _has_rows(storage: Storage, folder: str = "") -> bool:
    """Return whether a folder has rows, and not just any folder ``rows``; its path is empty or ends with a slash."""
    return any(name.startswith("in_scenario=") for name in storage.folders(f"{folder}rows"))


def _is_uri(location: str) -> bool:
    return "://" in location


def _split(location: str) -> tuple[str, str, str]:
    """Return a URI's scheme with its host or bucket, its path, and its options; a folder is all path."""
    if not _is_uri(location):
        return "", location, ""
    address, mark, options = location.partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}", slash + path, mark + options
