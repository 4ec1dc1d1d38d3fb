"""A cell as a suite asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cells import Cell
from benchmarks.rows.row import Row
from harness.text import printable

ID_LENGTH = 10
"""Characters of a cell's id on screen; ``splitbench show`` takes any unambiguous beginning."""


@dataclass(frozen=True)
class SuiteCell:
    """A cell, and what its suite calls the splitter.

    Args:
        cell: What is to be measured.
        label: The splitter's label, which is no part of the cell's identity; None where the suite gives none.
        plugins: Modules to import for the names in the cell.
    """

    cell: Cell
    label: str | None = None
    plugins: tuple[str, ...] = ()

    @property
    def splitter(self) -> str:
        """What the splitter is called on screen."""
        return self.label or self.cell.splitter.name

    @property
    def title(self) -> str:
        """A short name for people."""
        cell = self.cell
        return cell_title(cell.scenario, self.splitter, cell.model.name, cell.dataset.name, cell.seed)

    @property
    def reads_another(self) -> bool:
        """Whether the splitter is defined by another one's result, for which it would have to wait."""
        return bool(self.cell.splitter.settings.get("like"))


def cell_title(scenario: str, splitter: str, model: str, dataset: str, seed: int) -> str:
    """Returns a short name for people; it leaves out the usual scenario."""
    parts = [splitter, model, dataset, f"seed {seed}"]
    return printable(" · ".join(parts if scenario == "modularization" else [scenario, *parts]))


def row_title(row: Row) -> str:
    """Returns what a row's cell is called on screen."""
    return cell_title(row.scenario, row.splitter_label or row.splitter, row.model, row.dataset, row.seed)
