"""Trained weights and finished splits, computed once and kept in a content-addressed folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cache.checkpoints import CHECKPOINT_SECONDS, FileCheckpoint
from benchmarks.cache.file_locks import file_lock
from benchmarks.cache.numeric_environment import ComputeEnvironment
from benchmarks.cache.shared_cache import SharedCache
from benchmarks.cache.tensor_file import TensorFile, read_tensor_file, write_tensor_file
from benchmarks.cells import content_hash
from benchmarks.peak_memory import peak_memory_bytes, reset_peak_memory
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Checkpoint, CheckpointState, ProgressCallback, ignore_progress


@dataclass(frozen=True)
class Artifact:
    """The result of long-running work, computed now or earlier.

    Args:
        state: Tensors, on the CPU, and JSON values.
        seconds: Wall time of the computation: the sum over resumptions, without the interruptions between them.
        reused: Whether it came from the cache.
        peak_memory_bytes: Peak memory of the computation.
        computed_on: Where it was computed.
    """

    state: CheckpointState
    seconds: float
    reused: bool
    peak_memory_bytes: int | None
    computed_on: ComputeEnvironment | None


class ArtifactCache:
    """A folder of artefacts, each named after the hash of what determines it.

    Any number of processes may use it: the first one that needs an artefact computes it, the others wait, unless it is
    suspended. If two compute the same one after all, the first that is finished counts for both. Interrupted work
    leaves a checkpoint, from which the next process resumes. Machines without a common folder exchange artefacts
    and checkpoints through a shared cache; it is the dispatcher that keeps two of them from computing the same artefact
    at the same time.

    Args:
        root: The folder, created on the first write.
        shared_cache: A cache that other machines can reach.
        checkpoint_every: Minimum seconds between two checkpoints; when the work is stopped, one is always written.
    """

    def __init__(
        self, root: Path, *, shared_cache: SharedCache | None = None, checkpoint_every: float = CHECKPOINT_SECONDS
    ) -> None:
        self.root = root
        self.shared_cache = shared_cache
        self._checkpoint_every = checkpoint_every

    def get_or_make(
        self,
        kind: str,
        key: Mapping[str, Any],
        make: Callable[[Checkpoint], CheckpointState],
        *,
        device: str = "cpu",
        progress: ProgressCallback = ignore_progress,
    ) -> Artifact:
        """Return the artefact that ``key`` determines, computing it if it is absent or damaged.

        Args:
            kind: The sub-folder: lower-case letters, digits, ``-`` and ``_``.
            key: Everything that determines the artefact, as JSON values.
            make: Computes it; saves its state to the checkpoint that it is given, and resumes from there.
            device: The torch device of ``make``, whose peak memory is measured.
            progress: Called while another process computes it. It may raise, which ends the wait.

        Raises:
            ConfigurationError: If ``kind`` cannot be a folder's name.
        """
        path = self._path(kind, key)
        artifact = _read(path)
        if artifact is not None:
            return artifact
        with file_lock(path.with_suffix(".lock"), progress=progress, stage=kind):
            artifact = _read(path) or self._from_shared_cache(path)
            return artifact or self._make(path, key, make, device)

    def _path(self, kind: str, key: Mapping[str, Any]) -> Path:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", kind):
            raise ConfigurationError(
                f"{kind!r} cannot name a kind of artefact; use lower-case letters, digits, '-' and '_'."
            )
        return self.root / kind / f"{content_hash(key)}.safetensors"

    def _from_shared_cache(self, path: Path) -> Artifact | None:
        if self.shared_cache is None or not self.shared_cache.fetch(self._name(path), path):
            return None
        return _read(path)

    def _make(
        self, path: Path, key: Mapping[str, Any], make: Callable[[Checkpoint], CheckpointState], device: str
    ) -> Artifact:
        checkpoint_path = path.with_suffix(".checkpoint.safetensors")
        name = self._name(checkpoint_path)
        checkpoint = FileCheckpoint(
            checkpoint_path, every=self._checkpoint_every, shared_cache=self.shared_cache, name=name
        )
        reset_peak_memory(device)
        try:
            state = make(checkpoint)
        except BaseException:
            # A stop, or an error after which the work may be resumed. A full disk must not mask it.
            with suppress(OSError):
                checkpoint.flush()
            raise
        facts = {"key": dict(key), "seconds": checkpoint.seconds, "peak_memory_bytes": peak_memory_bytes(device)}
        facts |= ComputeEnvironment.current(device).to_facts()
        # If this process was suspended, another may have finished first; every cell must use the same artefact.
        artifact = _read(path)
        if artifact is None:
            write_tensor_file(path, TensorFile(state, facts))
            artifact = _read(path)
            if artifact is None:
                raise OSError(f"{path} was written but cannot be read back; is the disk full?")
            artifact = replace(artifact, reused=False)
            if self.shared_cache is not None:
                self.shared_cache.publish(path, self._name(path))
        checkpoint.remove()
        return artifact

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _read(path: Path) -> Artifact | None:
    content = read_tensor_file(path)
    if content is None:
        return None
    facts = content.facts
    return Artifact(
        content.state, facts["seconds"], True, facts["peak_memory_bytes"], ComputeEnvironment.from_facts(facts)
    )
