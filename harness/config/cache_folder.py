"""The folder for everything that can be recomputed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from splitters.errors import ConfigurationError


def cache_folder() -> Path:
    """Return ``SPLITBENCH_CACHE`` or, by default, the user's cache folder on this platform."""
    named = os.environ.get("SPLITBENCH_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("splitbench")


def require_cache_folder() -> None:
    """Check that the cache folder can be written to; otherwise, one cell after the other would fail.

    Raises:
        ConfigurationError: If it cannot.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("it is read-only")
    except OSError as error:
        raise ConfigurationError(
            f"the cache folder {folder} cannot be written to: {error}. Name another one by SPLITBENCH_CACHE."
        ) from None
