"""How work is run, stored and shown.

Importing a name loads what it needs only when the name is first used.

Example:
    Run a suite from Python, as ``splitbench run quick --backend inline`` does::

        suite = load_suite("quick")
        store = ResultStore("results/quick")
        plan = make_plan(expand(suite), store.read().latest())
        surroundings = Surroundings(suite.name, cache_folder())
        report = run_plan(plan, store, InlineBackend(surroundings, Limits(timeout=suite.timeout)))
        board = make_leaderboard(report.latest())
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import benchmarks

if not hasattr(benchmarks, "require_own"):
    raise ImportError(
        f"Splitbench needs its own package 'benchmarks' from {Path(__file__).resolve().parents[1] / 'benchmarks'}, but "
        f"Python finds another one first, {benchmarks.__file__ or next(iter(benchmarks.__path__))}: rename that one, "
        "or run from another folder."
    )
benchmarks.require_own("benchmarks", __file__)

if TYPE_CHECKING:
    from harness.config.cache_folder import cache_folder
    from harness.config.expand import expand
    from harness.config.suite import Suite, load_suite
    from harness.execution import Limits, StopSignal
    from harness.execution.attempt import Surroundings
    from harness.execution.inline import InlineBackend
    from harness.execution.ray.backend import RayBackend
    from harness.execution.run_plan import run_plan
    from harness.planning.plan import make_plan
    from harness.store import ResultStore
    from harness.views.leaderboards.notebook import make_leaderboard
    from harness.views.rows.read import read_rows

__all__ = [
    "InlineBackend",
    "Limits",
    "RayBackend",
    "ResultStore",
    "StopSignal",
    "Suite",
    "Surroundings",
    "cache_folder",
    "expand",
    "load_suite",
    "make_leaderboard",
    "make_plan",
    "read_rows",
    "run_plan",
]

_HOMES = {
    "harness.execution.attempt": ("Surroundings",),
    "harness.config.suite": ("Suite", "load_suite"),
    "harness.execution": ("Limits", "StopSignal"),
    "harness.execution.inline": ("InlineBackend",),
    "harness.execution.ray.backend": ("RayBackend",),
    "harness.config.expand": ("expand",),
    "harness.config.cache_folder": ("cache_folder",),
    "harness.views.leaderboards.notebook": ("make_leaderboard",),
    "harness.planning.plan": ("make_plan",),
    "harness.execution.run_plan": ("run_plan",),
    "harness.store": ("ResultStore",),
    "harness.views.rows.read": ("read_rows",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
