"""Whether the code that a cell names is still the code that runs."""

from __future__ import annotations

from benchmarks.cells import Cell
from benchmarks.data.datasets import with_code
from benchmarks.models import code_fingerprint
from benchmarks.scenarios.scenario import make_scenario
from splitters.errors import SplitbenchError
from splitters.methods.protocol import SPLITTERS


class CodeChangedError(SplitbenchError):
    """A plug-in changed after its cells were planned; their results would stand under the wrong identity."""


def with_current_code(cell: Cell) -> Cell:
    """Returns the cell with the versions and code fingerprints that its names have in this process.

    Raises:
        ConfigurationError: If a name is unknown here.
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
    """Returns what in a cell is other code now, e.g. ``the splitter 'mine'``.

    Args:
        cell: The cell as it was planned.
        current: The same, ``with_current_code``.
    """
    before, now = _code(cell), _code(current)
    return [name for name in before if before[name] != now[name]]


def check_code_unchanged(cell: Cell) -> None:
    """Refuses a cell whose code is not what it was when the cell was planned.

    Raises:
        CodeChangedError: If it is not; what has no fingerprint in the cell is not compared.
    """
    planned = _code(cell)
    changed = [name for name in changed_code(cell, with_current_code(cell)) if planned[name][1]]
    if changed:
        raise CodeChangedError(f"the code of {' and '.join(changed)} changed after this run was planned; run it again.")


def _code(cell: Cell) -> dict[str, tuple[int, str]]:
    """Returns version and fingerprint of each thing that a cell names."""
    return {
        f"the scenario {cell.scenario!r}": (cell.scenario_version, cell.scenario_code),
        f"the splitter {cell.splitter.name!r}": (cell.splitter.version, cell.splitter.code),
        f"the model {cell.model.name!r}": (1, cell.model.code),
        f"the data set {cell.dataset.name!r}": (1, cell.dataset.code),
    }
