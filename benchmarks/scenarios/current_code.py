"""Comparing the code that a cell was planned with and the code that runs."""

from __future__ import annotations

from benchmarks.cells import Cell
from benchmarks.data.datasets import with_code
from benchmarks.models import code_fingerprint
from benchmarks.scenarios.scenario import make_scenario
from splitters.errors import SplitbenchError
from splitters.methods.protocol import SPLITTERS


class CodeChangedError(SplitbenchError):
    """A plug-in changed after its cells were planned, so that results would be stored under the wrong cell id."""


def with_current_code(cell: Cell) -> Cell:
    """Return the cell with the versions and code fingerprints of this process.

    Raises:
        ConfigurationError: If a name is unknown in this process.
    """
    scenario = make_scenario(cell.scenario, cell.scenario_settings)
    name = cell.splitter.name
    splitter = {"version": SPLITTERS.get(name).version, "code": SPLITTERS.code_fingerprint(name)}
    return cell.model_copy(
        update={
            "scenario_version": scenario.version,
            "scenario_code": scenario.code_fingerprint(),
            "splitter": cell.splitter.model_copy(update=splitter),
            "model": cell.model.model_copy(update={"code": code_fingerprint(cell.model)}),
            "dataset": with_code(cell.dataset),
        }
    )


def changed_code(cell: Cell, current: Cell) -> list[str]:
    """Return the parts of a cell whose code differs, e.g. ``the splitter 'mine'``.

    Args:
        cell: The cell as planned.
        current: The cell ``with_current_code``.
    """
    planned, running = _versions(cell), _versions(current)
    return [name for name in planned if planned[name] != running[name]]


def check_code_unchanged(cell: Cell) -> None:
    """Check that a cell's plug-ins have not changed since it was planned.

    Raises:
        CodeChangedError: If one has. Code without a fingerprint in the cell is not compared.
    """
    planned = _versions(cell)
    changed = [name for name in changed_code(cell, with_current_code(cell)) if planned[name][1]]
    if changed:
        raise CodeChangedError(f"the code of {' and '.join(changed)} changed after this run was planned; run it again.")


def _versions(cell: Cell) -> dict[str, tuple[int, str]]:
    """Return the version and fingerprint of each part of a cell."""
    return {
        f"the scenario {cell.scenario!r}": (cell.scenario_version, cell.scenario_code),
        f"the splitter {cell.splitter.name!r}": (cell.splitter.version, cell.splitter.code),
        f"the model {cell.model.name!r}": (1, cell.model.code),
        f"the data set {cell.dataset.name!r}": (1, cell.dataset.code),
    }
