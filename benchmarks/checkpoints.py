"""Checkpoints in files: where a long piece of work keeps its state, and how long it has taken so far."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.mirror import Mirror
from benchmarks.tensor_files import TensorFile, read_tensor_file, write_tensor_file
from splitters.methods.protocol import CheckpointState

_WORTH = 20.0
"""Publishing takes at most one part in so many of the work's time."""


class FileCheckpoint:
    """A ``splitters.Checkpoint`` in one safetensors file.

    A torn file counts as absent. One process at a time may use the file.

    Args:
        path: The file.
        mirror: Where to publish it, so that work can go on on another machine.
        name: Its name there.
    """

    def __init__(self, path: Path, *, mirror: Mirror | None = None, name: str = "") -> None:
        self.path = path
        self._mirror = mirror
        self._name = name
        self._started = time.monotonic()
        self._earlier_seconds = 0.0
        self._publish_after = 0.0

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
        """Replaces the saved state, all or nothing."""
        write_tensor_file(self.path, TensorFile(state, {"seconds": self.seconds}))
        if self._mirror is not None and time.monotonic() >= self._publish_after:
            begun = time.monotonic()
            self._mirror.publish(self.path, self._name)
            self._publish_after = time.monotonic() + _WORTH * (time.monotonic() - begun)

    def remove(self) -> None:
        """Removes the saved state, if there is one."""
        self.path.unlink(missing_ok=True)
        if self._mirror is not None:
            self._mirror.remove(self._name)

    def _published(self) -> TensorFile | None:
        fetched = self.path.with_name(f"{self.path.name}.other")
        if self._mirror is None or not self._mirror.fetch(self._name, fetched):
            return None
        content = read_tensor_file(fetched)
        fetched.unlink(missing_ok=True)
        return content


def _seconds(content: TensorFile) -> float:
    return float(content.facts["seconds"])
