"""What is measured: data sets, base models, scenarios, metrics, the schema of rows, suites.

The names that packages with data sets and scenarios of their own need are imported on first use.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.boards import Board, Column, Sample
    from benchmarks.cells import Cell
    from benchmarks.data.datasets import DATASETS, DatasetEntry
    from benchmarks.data.sources.source import Contents, Location, Part, Source
    from benchmarks.pipeline.split_model import SplitModel
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.rows.row import Metrics
    from benchmarks.scenarios.scenario import SCENARIOS, CellSkippedError, Scenario
    from benchmarks.scenarios.split_scenario import SplitScenario

__all__ = [
    "DATASETS",
    "SCENARIOS",
    "Board",
    "Cell",
    "CellSkippedError",
    "Column",
    "Contents",
    "DatasetEntry",
    "Location",
    "Metrics",
    "Part",
    "Sample",
    "Scenario",
    "Source",
    "SplitModel",
    "SplitScenario",
    "Workspace",
]

_HOMES = {
    "benchmarks.boards": ("Board", "Column", "Sample"),
    "benchmarks.cells": ("Cell",),
    "benchmarks.data.datasets": ("DATASETS", "DatasetEntry"),
    "benchmarks.data.sources.source": ("Contents", "Location", "Part", "Source"),
    "benchmarks.pipeline.split_model": ("SplitModel",),
    "benchmarks.pipeline.workspace": ("Workspace",),
    "benchmarks.rows.row": ("Metrics",),
    "benchmarks.scenarios.scenario": ("SCENARIOS", "CellSkippedError", "Scenario"),
    "benchmarks.scenarios.split_scenario": ("SplitScenario",),
}


def require_own(package: str, importer: str) -> None:
    """Check that a package of this project is the one that Python finds under its name.

    Args:
        package: The package's name.
        importer: The ``__file__`` of the package beside which it must be.

    Raises:
        ImportError: If Python finds another package of this name first, with both paths, or none.
    """
    ours = Path(importer).resolve().parents[1] / package
    spec = find_spec(package)
    found = [str(Path(path).resolve()) for path in (spec.submodule_search_locations or [] if spec else [])]
    if str(ours) not in found:
        stranger = next(iter(found), spec.origin if spec else None)
        raise ImportError(
            f"Splitbench needs its own package {package!r} from {ours}, but Python finds "
            f"{f'another one first, {stranger}' if stranger else 'none'}: rename that one, or run from another folder."
        )


require_own("splitters", __file__)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
