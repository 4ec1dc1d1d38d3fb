"""What a process computes with: part of cache keys, and recorded in rows for reused work."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from splitters.networks.execution.compilation import is_compiling
from splitters.networks.execution.precision import current_precision


@dataclass(frozen=True)
class ComputeEnvironment:
    """Where a cached result was computed.

    Args:
        device_name: The GPU or CPU.
        torch_version: The version of torch.
        hostname: The machine.
    """

    device_name: str
    torch_version: str
    hostname: str

    @classmethod
    def current(cls, device: str) -> ComputeEnvironment:
        """Return that of this process and a torch device."""
        return cls(device_name(device), torch.__version__, platform.node() or "unknown")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> ComputeEnvironment | None:
        """Return what ``to_facts`` stored, or None if it is absent or malformed."""
        stored = facts.get("maker")
        names = tuple(cls.__dataclass_fields__)
        if not isinstance(stored, Mapping) or not all(isinstance(stored.get(name), str) for name in names):
            return None
        return cls(**{name: stored[name] for name in names})

    def to_facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"maker": asdict(self)}


def numeric_environment(device: str) -> dict[str, str | bool | None]:
    """Return what the last bits of a result depend on besides code and seed: torch, what it runs on, its precision.

    Sums round differently on another kind of GPU, with other vector instructions of a CPU, and in compiled networks.
    float32 and networks that are not compiled are left out: earlier results have nothing else.
    """
    kind = torch.device(device).type
    on_gpu = kind == "cuda"
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "device": kind,
        "processor": torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability(),
        **({} if current_precision() == "float32" else {"precision": current_precision()}),
        **({"compiled": True} if is_compiling() else {}),
    }


def device_name(device: str) -> str:
    """Return the name of the GPU or CPU behind a torch device."""
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return _processor()


@cache
def _processor() -> str:
    """Return the CPU's name, or its architecture where the system does not name it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"
