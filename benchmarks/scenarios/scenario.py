"""What a scenario is: one way to measure splitters, as a function from a cell to metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from benchmarks.boards import MODULARIZATION, Board
from benchmarks.cells import Cell, DatasetSpec, content_hash
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from splitters.errors import SplitbenchError
from splitters.registry import Registry
from splitters.settings import Settings as AnySettings
from splitters.source_code import code_fingerprint


class CellSkippedError(SplitbenchError):
    """A cell makes no sense or is not applicable; it is stored as ``skipped`` with this message, and not run again."""


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

    version: ClassVar[int] = 1
    """Counts the changes of its code that alter results."""

    def __init__(self, settings: AnySettings | None = None) -> None:
        self.settings = settings or self.Settings()

    def code_fingerprint(self) -> str:
        """Returns a hash of the code that a cell's results depend on through its scenario; empty for built-in code.

        Scenarios whose settings name plug-ins, such as fusion rules, add theirs with ``further_code``.
        """
        own = code_fingerprint({type(self).__module__})
        parts = sorted({part for part in (own, *self.further_code()) if part})
        return parts[0] if len(parts) == 1 else content_hash({"parts": parts}) if parts else ""

    def other_dataset(self, cell: Cell) -> DatasetSpec | None:
        """Returns the second data set that a cell needs, if it needs one; rows carry its ``other_dataset_hash``."""
        return None

    def further_code(self) -> Iterable[str]:
        """Returns the fingerprints of what the settings name, where those are not built in."""
        return ()

    @abstractmethod
    def check(self, cell: Cell) -> None:
        """Checks a cell before anything runs: names, settings, what they need.

        Raises:
            ConfigurationError: If the cell cannot be run as it is written.
        """

    def prepare(self, cell: Cell, workspace: Workspace) -> None:  # noqa: B027  (may well do nothing)
        """Compute and cache what cells that differ only in their splitters share; nothing by default."""

    @classmethod
    def has_preparation(cls) -> bool:
        """Return whether there is anything that ``prepare`` would compute."""
        return cls.prepare is not Scenario.prepare

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
