"""What a cell's work may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.shared_cache import SharedCache
from splitters.methods.protocol import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class Workspace:
    """What a cell's work may use, none of which alters its result.

    Args:
        cache: Folder of decoded data, trained weights and finished splits.
        data_root: Folder of data sets; None where none was named.
        download: Whether absent data may be fetched.
        device: The torch device that the cell owns (``cpu``, ``cuda:0``).
        progress: Called often; it may raise, and so stop the work.
        shared_cache: Folder or URI in which machines share what the cache holds; None shares nothing.
    """

    cache: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    progress: ProgressCallback = ignore_progress
    shared_cache: str | None = None

    @property
    def artifacts(self) -> ArtifactCache:
        """Trained weights, finished splits and checkpoints."""
        return ArtifactCache(self.cache, shared_cache=SharedCache(self.shared_cache) if self.shared_cache else None)
