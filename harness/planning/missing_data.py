"""Data sets that cells need and that are not there: looked for before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.cells import Cell, DatasetSpec
from benchmarks.data.datasets import check_present
from benchmarks.data.sources.source import Location
from benchmarks.scenarios.scenario import make_scenario
from splitters.errors import SplitbenchError


@dataclass(frozen=True)
class DataCheck:
    """The result of a look for data sets.

    Args:
        missing: For each data set that is missing, a sentence on what was looked for, and where.
        warnings: What the user should know about the files of the others, a sentence each.
    """

    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_data(datasets: Iterable[DatasetSpec], *, location: Location, last_data_root: bool = False) -> DataCheck:
    """Look for data sets without reading images.

    Args:
        datasets: The data sets.
        location: Where to look.
        last_data_root: Without a data root, look also in the one in which a data set was found last.
    """
    missing: list[str] = []
    warnings: list[str] = []
    for spec in {spec.name: spec for spec in datasets}.values():
        try:
            warnings += check_present(spec, location=location, last_data_root=last_data_root)
        except (SplitbenchError, OSError) as error:
            missing.append(str(error))
    return DataCheck(tuple(missing), tuple(warnings))


class NeededData:
    """The data sets of cells; those of cells that differ in their seeds alone are looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[DatasetSpec]] = {}

    def __call__(self, cell: Cell) -> list[DatasetSpec]:
        """Return a cell's data set, and the scenario's second one if there is one."""
        key = cell.identity_without_seed
        if key not in self._known:
            other = make_scenario(cell.scenario, cell.scenario_settings).other_dataset(cell)
            self._known[key] = [cell.dataset, *([other] if other else [])]
        return self._known[key]


def datasets_of(cells: Iterable[Cell]) -> list[DatasetSpec]:
    """Return the data sets that some cells need, each once."""
    found: dict[str, DatasetSpec] = {}
    needed = NeededData()
    for cell in cells:
        for spec in needed(cell):
            found.setdefault(spec.name, spec)
    return list(found.values())
