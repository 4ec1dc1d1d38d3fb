"""A cell as an entry of a suite."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cells import Cell
from benchmarks.rows.row import Row
from harness.text import printable

CellKind = tuple[str, str, str, str]
"""Scenario, splitter, model and data set."""

ID_LENGTH = 10
"""Characters of a cell's id on screen; ``splitbench show`` accepts any unambiguous prefix."""


@dataclass(frozen=True)
class SuiteCell:
    """A cell, with the label that its suite gives the splitter.

    Args:
        cell: The cell.
        label: The splitter's label, if the suite gives one; it is not part of the cell's identity.
        plugins: Modules to import for the names in the cell.
    """

    cell: Cell
    label: str | None = None
    plugins: tuple[str, ...] = ()

    @property
    def splitter(self) -> str:
        """The splitter's name on screen."""
        return self.label or self.cell.splitter.name

    @property
    def title(self) -> str:
        """The cell's name on screen."""
        cell = self.cell
        return cell_title(cell.scenario, self.splitter, cell.model.name, cell.dataset.name, cell.seed)

    @property
    def kind(self) -> CellKind:
        """What the cell shares with others of about the same duration and memory."""
        cell = self.cell
        return cell.scenario, cell.splitter.name, cell.model.name, cell.dataset.name

    @property
    def reads_another(self) -> bool:
        """Whether the splitter needs another one's result, for which it would have to wait."""
        return bool(self.cell.splitter.settings.get("like"))


def cell_title(scenario: str, splitter: str, model: str, dataset: str, seed: int) -> str:
    """Return a cell's name on screen, which omits the usual scenario."""
    parts = [splitter, model, dataset, f"seed {seed}"]
    return printable(" · ".join(parts if scenario == "modularization" else [scenario, *parts]))


def row_title(row: Row) -> str:
    """Return the name on screen of a row's cell."""
    return cell_title(row.scenario, row.splitter_label or row.splitter, row.model, row.dataset, row.seed)
