"""The scenario protocol: one way to measure splitters, as a function from a cell to metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from benchmarks.boards import MODULARIZATION, Board
from benchmarks.cells import Cell, DatasetSpec, content_hash
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from splitters.errors import SplitbenchError
from splitters.foreign_code import constructing
from splitters.registry import Registry
from splitters.settings import Settings as AnySettings
from splitters.source_code import code_fingerprint, defining_modules


class CellSkippedError(SplitbenchError):
    """A cell is not applicable; it is stored as ``skipped`` with this message, and not run again."""


class Scenario(ABC):
    """One way to measure a splitter. A subclass registers itself with ``@SCENARIOS.register("name")``.

    Args:
        settings: Its settings. Default: those of ``Settings``.
    """

    Settings: ClassVar[type[AnySettings]] = AnySettings
    """The type of its settings."""

    board: ClassVar[Board] = MODULARIZATION
    """Its leaderboard."""

    selection: ClassVar[str | None] = None
    """The scenario that measures the same without reading test, if there is one; sweeps choose by it."""

    version: ClassVar[int] = 1
    """Incremented with every change of its code that alters results; for the results of some settings, in instances."""

    def __init__(self, settings: AnySettings | None = None) -> None:
        self.settings = settings or self.Settings()

    def code_fingerprint(self) -> str:
        """Return a hash of the plug-in code that results depend on through the scenario; empty for built-in code.

        Scenarios whose settings name plug-ins, such as fusion rules, add them with ``settings_fingerprints``.
        """
        fingerprints = (code_fingerprint(defining_modules(type(self), Scenario)), *self.settings_fingerprints())
        parts = sorted({fingerprint for fingerprint in fingerprints if fingerprint})
        return parts[0] if len(parts) == 1 else content_hash({"parts": parts}) if parts else ""

    def other_dataset(self, cell: Cell) -> DatasetSpec | None:
        """Return the second data set that a cell needs, if any; rows carry its ``other_dataset_hash``."""
        return None

    def settings_fingerprints(self) -> Iterable[str]:
        """Return the code fingerprints of what the settings name; empty strings for built-in code."""
        return ()

    @abstractmethod
    def check(self, cell: Cell) -> None:
        """Check a cell's names, settings and requirements before anything runs.

        Raises:
            ConfigurationError: If the cell cannot run.
        """

    def prepare(self, cell: Cell, workspace: Workspace) -> None:  # noqa: B027  (may well do nothing)
        """Compute and cache what cells that differ only in their splitters share; nothing by default."""

    @classmethod
    def has_preparation(cls) -> bool:
        """Return whether there is anything that ``prepare`` would compute."""
        return cls.prepare is not Scenario.prepare

    @abstractmethod
    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Run a cell and return what was measured.

        Raises:
            CellSkippedError: If the cell is not applicable, which is not a failure.
            SplitbenchError: If it fails; the row stores the message.
        """


SCENARIOS: Registry[type[Scenario]] = Registry(
    "scenario",
    entry_point_group="splitbench.scenarios",
    subclass_of=Scenario,
    homes={
        "accuracy_composition": "benchmarks.scenarios.accuracy_composition",
        "modularization": "benchmarks.scenarios.modularization",
        "new_task": "benchmarks.scenarios.new_task",
        "patching": "benchmarks.scenarios.patching",
        "selection": "benchmarks.scenarios.modularization",
        "sub_task": "benchmarks.scenarios.sub_task",
    },
)
"""All scenarios, by name."""


def make_scenario(name: str, settings: Mapping[str, Any], *, where: str = "") -> Scenario:
    """Return a configured scenario.

    Args:
        name: A name in ``SCENARIOS``.
        settings: Its settings as plain values.
        where: The file and key of the settings, for messages.

    Raises:
        ConfigurationError: If the name or a key is unknown, or a value is not allowed.
    """
    cls = SCENARIOS.get(name, where=where)
    title = f"{where + ': ' if where else ''}scenario {name!r}"
    parsed = cls.Settings.parse(settings, where=title)
    with constructing(title):
        return cls(parsed)
