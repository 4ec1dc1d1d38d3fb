"""Where the harness keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns the cache folder: ``SPLITBENCH_CACHE``, else the platform's cache folder of the user."""
    named = os.environ.get("SPLITBENCH_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("splitbench")
