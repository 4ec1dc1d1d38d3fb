"""Peak memory of a GPU, or of the process on a CPU."""

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
"""Written to ``clear_refs``, this makes Linux reset the process's peak (``VmHWM``)."""


def reset_peak_memory(device: torch.device | str) -> None:
    """Start a new measurement, on a GPU or on Linux; elsewhere the peak of a process cannot be reset."""
    if torch.device(device).type == "cuda":
        if torch.cuda.is_initialized():  # before its first use, a GPU has no peak, and torch refuses to reset it
            torch.cuda.reset_peak_memory_stats(device)
        return
    # Linux may be built without it, and containers may forbid it.
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)


def peak_memory_bytes(device: torch.device | str) -> int:
    """Return the peak memory of torch on a GPU, or else of the process, since the last reset.

    Where the peak of a process cannot be reset, it is that of the process's whole life.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _resettable_peak() or _lifetime_peak()


def _resettable_peak() -> int | None:
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    match = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _lifetime_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
