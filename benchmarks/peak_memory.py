"""Peak memory: of the GPU where there is one, else of the process."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"
"""What Linux takes, written to ``clear_refs``, for a new start of the process's peak (``VmHWM``)."""


def reset_peak_memory(device: torch.device | str) -> None:
    """Starts a new measurement, on a GPU and on Linux; elsewhere the peak of a process cannot be reset."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    # Kernels may be built without it, and containers may forbid it.
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)


def peak_memory_bytes(device: torch.device | str) -> int:
    """Returns the most memory that torch held on a GPU, or that the process held, since the last reset.

    Where the peak of a process cannot be reset, it is the most that the process ever held.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _resettable_peak() or _lifelong_peak()


def _resettable_peak() -> int | None:
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _lifelong_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
