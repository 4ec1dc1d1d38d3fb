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


def datasets_of(cells: Iterable[Cell]) -> list[DatasetSpec]:
    """Return the data sets that some cells need, each once."""
    found: dict[str, DatasetSpec] = {}
    for cell in cells:
        other = make_scenario(cell.scenario, cell.scenario_settings).other_dataset(cell)
        for spec in (cell.dataset, other) if other is not None else (cell.dataset,):
            found.setdefault(spec.name, spec)
    return list(found.values())
