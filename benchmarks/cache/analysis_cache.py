"""What splitters find out about a task whatever their settings, made once: importance, sensitivity curves."""

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
    """The findings about one task, in a folder that any number of processes may share.

    Unlike an artefact, a finding has no checkpoint and no measurement of memory: both are those of the split around it.

    Args:
        root: The cache folder.
        task: Everything that determines the task, as JSON values; the splitter's name and version among them.
        progress: Called while another process makes the finding. It may raise, and so end the wait.
    """

    root: Path
    task: Mapping[str, Any]
    progress: ProgressCallback

    def get_or_compute(self, name: str, key: Mapping[str, object], make: Callable[[], CheckpointState]) -> Finding:
        """Returns a finding, and makes it first if it is absent or torn; see ``SplitTask.recall``."""
        path = self.root / _STAGE / f"{content_hash({**self.task, 'finding': name, 'key': dict(key)})}.safetensors"
        with file_lock(path.with_suffix(".lock"), progress=self.progress, stage=_STAGE):
            known = read_tensor_file(path)
            if known is not None:
                return Finding(known.state, float(known.facts["seconds"]))
            began = time.perf_counter()
            state = make()
            write_tensor_file(path, TensorFile(state, {"seconds": time.perf_counter() - began}))
        return Finding(state, 0.0)
