"""Checkpoints in files: the state of long-running work, and how long it has taken so far."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.cache.shared_cache import SharedCache
from benchmarks.cache.tensor_file import TensorFile, read_tensor_file, temporary_beside, write_tensor_file
from splitters.methods.protocol import CheckpointState

CHECKPOINT_SECONDS = 30.0
"""How often long-running work writes its state, and so the most that is lost when a process is killed."""

_MIN_WORK_PER_WRITE = 20.0
"""Writing and publishing each take at most one twentieth of the work's time."""


@dataclass(frozen=True)
class _PendingState:
    """A state that was saved but is not on the disk yet.

    Args:
        file: The content to write.
        versions: The tensors' counts of in-place changes at the time of saving.
    """

    file: TensorFile
    versions: Mapping[str, int]

    @property
    def is_unchanged(self) -> bool:
        """Whether no tensor was changed in place since."""
        return all(_version(tensor) == self.versions[name] for name, tensor in self.file.state.tensors.items())


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


class FileCheckpoint:
    """A ``splitters.Checkpoint`` in one safetensors file.

    A damaged file counts as absent. Every write replaces the whole file, so that two processes at the same work, of
    which one was suspended, leave the state of one or the other.

    Not every saved state is written, since states can take hundreds of megabytes. The latest one is kept in memory,
    without a copy, until ``flush``, which skips it if its tensors were changed in place in the meantime.

    Args:
        path: The file.
        every: Minimum seconds between two writes; 0 writes every state.
        shared_cache: Where to publish it, so that another machine can resume the work.
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
        self._pending: _PendingState | None = None

    @property
    def seconds(self) -> float:
        """Seconds of work so far: since this object was created, plus those of the loaded state."""
        return self._earlier_seconds + time.monotonic() - self._started

    def load(self) -> CheckpointState | None:
        """Return the last saved state, on the CPU, or None if there is none.

        If this machine and another one each left a state, the one with more seconds of work counts.
        """
        candidates = [file for file in (read_tensor_file(self.path), self._fetch_published()) if file is not None]
        if not candidates:
            return None
        content = max(candidates, key=_seconds)
        self._earlier_seconds = _seconds(content)
        return content.state

    def save(self, state: CheckpointState) -> None:
        """Replace the saved state atomically; it reaches the disk now or later, see the class."""
        copied = CheckpointState(dict(state.tensors), copy.deepcopy(state.values))
        versions = {name: _version(tensor) for name, tensor in copied.tensors.items()}
        self._pending = _PendingState(TensorFile(copied, {"seconds": self.seconds}), versions)
        if time.monotonic() >= self._write_after:
            self._write(self._pending)

    def flush(self) -> None:
        """Write the last saved state, unless it is written already."""
        if self._pending is not None and self._pending.is_unchanged:
            self._publish_after = 0.0
            self._write(self._pending)

    def _write(self, pending: _PendingState) -> None:
        started = time.monotonic()
        write_tensor_file(self.path, pending.file)
        self._pending = None
        if self._every:
            self._write_after = time.monotonic() + max(self._every, _MIN_WORK_PER_WRITE * (time.monotonic() - started))
        if self._shared_cache is not None and time.monotonic() >= self._publish_after:
            started = time.monotonic()
            self._shared_cache.publish(self.path, self._name)
            self._publish_after = time.monotonic() + _MIN_WORK_PER_WRITE * (time.monotonic() - started)

    def remove(self) -> None:
        """Remove the saved state, if there is one."""
        self._pending = None
        self.path.unlink(missing_ok=True)
        if self._shared_cache is not None:
            self._shared_cache.remove(self._name)

    def _fetch_published(self) -> TensorFile | None:
        if self._shared_cache is None:
            return None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fetched = temporary_beside(self.path)
        if not self._shared_cache.fetch(self._name, fetched):
            return None
        content = read_tensor_file(fetched)
        fetched.unlink(missing_ok=True)
        return content


def _seconds(content: TensorFile) -> float:
    return float(content.facts["seconds"])
