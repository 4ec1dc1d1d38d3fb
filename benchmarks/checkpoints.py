"""Checkpoints in files: where a long piece of work keeps its state, and how long it has taken so far."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.tensor_files import TensorFile, read_tensor_file, write_tensor_file
from splitters.base import CheckpointState


class FileCheckpoint:
    """A ``splitters.Checkpoint`` in one safetensors file.

    A torn file counts as absent. One process at a time may use the file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.monotonic()
        self._earlier_seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long the work has taken: since this object was made, plus what the loaded state had taken."""
        return self._earlier_seconds + time.monotonic() - self._started

    def load(self) -> CheckpointState | None:
        """Returns the last saved state, on the CPU, or None if there is none."""
        content = read_tensor_file(self.path)
        if content is None:
            return None
        self._earlier_seconds = float(content.facts["seconds"])
        return content.state

    def save(self, state: CheckpointState) -> None:
        """Replaces the saved state, all or nothing."""
        write_tensor_file(self.path, TensorFile(state, {"seconds": self.seconds}))

    def remove(self) -> None:
        """Removes the saved state, if there is one."""
        self.path.unlink(missing_ok=True)
