"""What a scenario is: one way to measure splitters, as a function from a cell to metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cells import Cell
from benchmarks.records import Metrics
from splitters.base import ProgressCallback, ignore_progress
from splitters.errors import SplitbenchError
from splitters.registry import Registry


class CellSkippedError(SplitbenchError):
    """A cell makes no sense or is not applicable; it is stored as ``skipped`` with this message, and not run again."""


@dataclass(frozen=True)
class Workspace:
    """What a cell's work may use, none of which alters its result.

    Args:
        cache: Folder of decoded data, trained weights and finished splits.
        data_root: Folder of data sets; None where none was named.
        download: Whether absent data may be fetched.
        device: The torch device that the cell owns (``cpu``, ``cuda:0``).
        progress: Called often; it may raise, and so stop the work.
    """

    cache: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    progress: ProgressCallback = ignore_progress


class Scenario(ABC):
    """One way to measure a splitter. A subclass registers itself with ``@SCENARIOS.register("name")``."""

    @abstractmethod
    def check(self, cell: Cell) -> None:
        """Checks a cell before anything runs: names, settings, what they need.

        Raises:
            ConfigurationError: If the cell cannot be run as it is written.
        """

    @abstractmethod
    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Runs a cell and returns what was measured.

        Raises:
            CellSkippedError: If there is nothing to measure here; that is no failure.
            SplitbenchError: If it cannot be measured; the row then says why.
        """


SCENARIOS: Registry[type[Scenario]] = Registry(
    "scenario",
    entry_point_group="splitbench.scenarios",
    homes={"modularization": "benchmarks.scenarios.modularization"},
)
"""All scenarios by name."""
