"""Sweeps: a search over splitters' settings, to a Pareto front.

Importing a name loads what it needs only when the name is first used, for workers need little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.sweep.file import Sweep
    from harness.sweep.loading import load_sweep
    from harness.sweep.results import SweepResults, read_results
    from harness.sweep.run import SweepListener, SweepReport, plan_sweep, run_sweep

__all__ = [
    "Sweep",
    "SweepListener",
    "SweepReport",
    "SweepResults",
    "load_sweep",
    "plan_sweep",
    "read_results",
    "run_sweep",
]

_HOMES = {
    "harness.sweep.file": ("Sweep",),
    "harness.sweep.loading": ("load_sweep",),
    "harness.sweep.results": ("SweepResults", "read_results"),
    "harness.sweep.run": ("SweepListener", "SweepReport", "plan_sweep", "run_sweep"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
