"""The resources of a cell's work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.shared_cache import SharedCache
from splitters.methods.protocol import ProgressCallback, ignore_progress


def _ignore_warning(_text: str) -> None:
    """Drop a warning."""


@dataclass(frozen=True)
class Workspace:
    """The resources of a cell's work. None of them alters its result.

    Args:
        cache: Folder of decoded data, trained weights and finished splits.
        data_root: Folder of data sets, if one was named.
        suite_folder: The folder of the suite's file, if there is one.
        download: Whether absent data may be fetched.
        device: The torch device that the cell owns (``cpu``, ``cuda:0``).
        progress: Called often; it may raise to stop the work.
        warn: Called with what the user should know about the data, a sentence at a time.
        isolated: Returns a context in which code under measurement runs; it undoes what that changes in the process.
        shared_cache: Folder or URI through which machines share the content of the cache, if any.
    """

    cache: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    progress: ProgressCallback = ignore_progress
    shared_cache: str | None = None
    suite_folder: Path | None = None
    warn: Callable[[str], None] = _ignore_warning
    isolated: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def artifacts(self) -> ArtifactCache:
        """Trained weights, finished splits and checkpoints."""
        return ArtifactCache(self.cache, shared_cache=SharedCache(self.shared_cache) if self.shared_cache else None)
