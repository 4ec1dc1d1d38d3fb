"""Sweeps: a search over splitters' settings with Ray Tune and Optuna, to a Pareto front.

Names are loaded when they are first used: Ray and Tune take seconds, and workers need little of this.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.sweep.definition.file import Sweep
    from harness.sweep.definition.load import load_sweep
    from harness.sweep.listener import SweepListener
    from harness.sweep.plan import plan_sweep
    from harness.sweep.run import SweepReport, run_sweep
    from harness.sweep.study.results import SweepResults, read_results

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

_MODULES = {
    "SweepListener": "listener",
    "plan_sweep": "plan",
    "Sweep": "definition.file",
    "load_sweep": "definition.load",
    "SweepResults": "study.results",
    "read_results": "study.results",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'run')}"), name)
