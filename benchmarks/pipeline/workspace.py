"""What a cell's work may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.shared_cache import Mirror
from splitters.methods.protocol import ProgressCallback, ignore_progress


def _ignore_warning(_text: str) -> None:
    """Drop a warning."""


@dataclass(frozen=True)
class Workspace:
    """What a cell's work may use, none of which alters its result.

    Args:
        cache: Folder of decoded data, trained weights and finished splits.
        data_root: Folder of data sets, if one was named.
        suite_folder: The folder of the suite's file, if there is one.
        download: Whether absent data may be fetched.
        device: The torch device that the cell owns (``cpu``, ``cuda:0``).
        progress: Called often; it may raise to stop the work.
        warn: Called with what the user should know about the data, a sentence at a time.
        mirror: Folder or URI in which machines share what the cache holds; None shares nothing.
    """

    cache: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    progress: ProgressCallback = ignore_progress
    mirror: str | None = None
    suite_folder: Path | None = None
    warn: Callable[[str], None] = _ignore_warning

    @property
    def artifacts(self) -> ArtifactCache:
        """Trained weights, finished splits and checkpoints."""
        return ArtifactCache(self.cache, mirror=Mirror(self.mirror) if self.mirror else None)
