"""The folder for everything that can be recomputed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``SPLITBENCH_CACHE`` or, by default, the user's cache folder on this platform."""
    named = os.environ.get("SPLITBENCH_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("splitbench")
