"""Peak memory: of the GPU where there is one, else of the process."""

from __future__ import annotations

import resource
import sys

import torch


def reset_peak_memory(device: torch.device | str) -> None:
    """Starts a new measurement on a GPU; the peak of a process cannot be reset."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device | str) -> int:
    """Returns the most memory that torch held on a GPU since the last reset, or that the process ever held."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
