"""What a scenario is: one way to measure splitters, as a function from a cell to metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.artifacts import ArtifactCache
from benchmarks.boards import MODULARIZATION, Board
from benchmarks.cells import Cell
from benchmarks.mirror import Mirror
from benchmarks.records import Metrics
from splitters.errors import SplitbenchError
from splitters.methods.protocol import ProgressCallback, ignore_progress
from splitters.registry import Registry
from splitters.settings import Settings as AnySettings


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
        mirror: Folder or URI in which machines share what the cache holds; None shares nothing.
    """

    cache: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    progress: ProgressCallback = ignore_progress
    mirror: str | None = None

    @property
    def artifacts(self) -> ArtifactCache:
        """Trained weights, finished splits and checkpoints."""
        return ArtifactCache(self.cache, mirror=Mirror(self.mirror) if self.mirror else None)


class Scenario(ABC):
    """One way to measure a splitter. A subclass registers itself with ``@SCENARIOS.register("name")``.

    Args:
        settings: Its settings; the defaults without.
    """

    Settings: ClassVar[type[AnySettings]] = AnySettings
    """The model of its settings."""

    board: ClassVar[Board] = MODULARIZATION
    """What its leaderboard shows."""

    selection: ClassVar[str | None] = None
    """The scenario that measures the same without a look at test, if there is one; sweeps choose by that one."""

    def __init__(self, settings: AnySettings | None = None) -> None:
        self.settings = settings or self.Settings()

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
    homes={
        "accuracy_composition": "benchmarks.scenarios.accuracy_composition",
        "modularization": "benchmarks.scenarios.modularization",
        "new_task": "benchmarks.scenarios.new_task",
        "patching": "benchmarks.scenarios.patching",
        "selection": "benchmarks.scenarios.modularization",
        "sub_task": "benchmarks.scenarios.sub_task",
    },
)
"""All scenarios by name."""


def make_scenario(name: str, settings: Mapping[str, Any], *, where: str = "") -> Scenario:
    """Returns a configured scenario.

    Args:
        name: A name in ``SCENARIOS``.
        settings: Its settings as plain values; absent ones take their defaults.
        where: The file and key that hold them, for messages.

    Raises:
        ConfigurationError: If the name or a key is unknown, or a value is not allowed.
    """
    cls = SCENARIOS.get(name, where=where)
    return cls(cls.Settings.parse(settings, where=f"{where + ': ' if where else ''}scenario {name!r}"))
