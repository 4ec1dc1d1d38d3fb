"""Checkpoints in files: where a long piece of work keeps its state, and how long it has taken so far."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.cache.shared_cache import SharedCache
from benchmarks.cache.tensor_file import TensorFile, read_tensor_file, write_tensor_file
from splitters.methods.protocol import CheckpointState

CHECKPOINT_SECONDS = 30.0
"""How often long work writes its state: that much of it is lost at most when a process is killed."""

_WORTH = 20.0
"""Writing and publishing each take at most one part in so many of the work's time."""


@dataclass(frozen=True)
class _Unwritten:
    """A state that was saved and is not on the disk yet.

    Args:
        file: What the file is to hold.
        versions: The tensors' counts of changes in place when they were saved.
    """

    file: TensorFile
    versions: Mapping[str, int]

    @property
    def is_unchanged(self) -> bool:
        """Whether all tensors still hold what was saved."""
        return all(_version(tensor) == self.versions[name] for name, tensor in self.file.state.tensors.items())


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


class FileCheckpoint:
    """A ``splitters.Checkpoint`` in one safetensors file.

    A torn file counts as absent. One process at a time may use the file.

    Not every saved state is written, for a state may be hundreds of megabytes. The latest one is kept in memory, not
    copied, until ``flush``; one whose tensors have been changed in place by then is not written.

    Args:
        path: The file.
        every: Seconds between two writes at least; 0 writes every state.
        shared_cache: Where to publish it, so that work can go on on another machine.
        name: Its name there.
    """

    def __init__(
        self, path: Path, *, every: float = 0.0, shared_cache: SharedCache | None = None, name: str = ""
    ) -> None:
        self.path = path
        self._every = every
        self._shared_cache = shared_cache
        self._name = name
        self._started = time.monotonic()
        self._earlier_seconds = 0.0
        self._write_after = self._started + every
        self._publish_after = 0.0
        self._unwritten: _Unwritten | None = None

    @property
    def seconds(self) -> float:
        """How long the work has taken: since this object was made, plus what the loaded state had taken."""
        return self._earlier_seconds + time.monotonic() - self._started

    def load(self) -> CheckpointState | None:
        """Returns the last saved state, on the CPU, or None if there is none.

        If this machine and another one each have left one, the one of more work counts.
        """
        content = max(
            (found for found in (read_tensor_file(self.path), self._published()) if found is not None),
            key=_seconds,
            default=None,
        )
        if content is None:
            return None
        self._earlier_seconds = _seconds(content)
        return content.state

    def save(self, state: CheckpointState) -> None:
        """Replaces the saved state, all or nothing; it reaches the disk now or later, see the class."""
        kept = CheckpointState(dict(state.tensors), copy.deepcopy(state.values))
        versions = {name: _version(tensor) for name, tensor in kept.tensors.items()}
        self._unwritten = _Unwritten(TensorFile(kept, {"seconds": self.seconds}), versions)
        if time.monotonic() >= self._write_after:
            self._write(self._unwritten)

    def flush(self) -> None:
        """Writes the last saved state, if it is not written yet."""
        if self._unwritten is not None and self._unwritten.is_unchanged:
            self._publish_after = 0.0
            self._write(self._unwritten)

    def _write(self, unwritten: _Unwritten) -> None:
        begun = time.monotonic()
        write_tensor_file(self.path, unwritten.file)
        self._unwritten = None
        if self._every:
            self._write_after = time.monotonic() + max(self._every, _WORTH * (time.monotonic() - begun))
        if self._shared_cache is not None and time.monotonic() >= self._publish_after:
            begun = time.monotonic()
            self._shared_cache.publish(self.path, self._name)
            self._publish_after = time.monotonic() + _WORTH * (time.monotonic() - begun)

    def remove(self) -> None:
        """Removes the saved state, if there is one."""
        self._unwritten = None
        self.path.unlink(missing_ok=True)
        if self._shared_cache is not None:
            self._shared_cache.remove(self._name)

    def _published(self) -> TensorFile | None:
        fetched = self.path.with_name(f"{self.path.name}.other")
        if self._shared_cache is None or not self._shared_cache.fetch(self._name, fetched):
            return None
        content = read_tensor_file(fetched)
        fetched.unlink(missing_ok=True)
        return content


def _seconds(content: TensorFile) -> float:
    return float(content.facts["seconds"])
