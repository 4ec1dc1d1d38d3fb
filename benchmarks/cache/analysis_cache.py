"""Analyses of a task that splitters share whatever their settings, computed once: importance, sensitivity curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cache.file_locks import file_lock
from benchmarks.cache.tensor_file import TensorFile, read_tensor_file, write_tensor_file
from benchmarks.cells import content_hash
from splitters.methods.protocol import CheckpointState, Finding, ProgressCallback

_STAGE = "findings"


@dataclass(frozen=True)
class AnalysisCache:
    """The analyses of one task, in a folder that any number of processes may share.

    Unlike an artefact, an analysis has no checkpoint and no memory measurement: the split around it has both.

    Args:
        root: The cache folder.
        task: Everything that determines the task, as JSON values, including the splitter's name and version.
        progress: Called while another process computes the analysis. It may raise, which ends the wait.
    """

    root: Path
    task: Mapping[str, Any]
    progress: ProgressCallback

    def get_or_compute(self, name: str, key: Mapping[str, object], make: Callable[[], CheckpointState]) -> Finding:
        """Return an analysis, computing it if it is absent or damaged; see ``SplitTask.recall``."""
        path = self.root / _STAGE / f"{content_hash({**self.task, 'finding': name, 'key': dict(key)})}.safetensors"
        cached = _read(path)
        if cached is not None:
            return cached
        with file_lock(path.with_suffix(".lock"), progress=self.progress, stage=_STAGE):
            cached = _read(path)
            if cached is not None:
                return cached
            started = time.perf_counter()
            state = make()
            write_tensor_file(path, TensorFile(state, {"seconds": time.perf_counter() - started}))
        return Finding(state, 0.0)


def _read(path: Path) -> Finding | None:
    content = read_tensor_file(path)
    return None if content is None else Finding(content.state, float(content.facts["seconds"]))
