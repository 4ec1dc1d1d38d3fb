"""Sweeps: a search over splitters' settings, to a Pareto front."""

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
