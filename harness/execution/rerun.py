"""Run cells again that have rows: the same configuration must give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.cells import Cell
from benchmarks.data.datasets import check_dataset, check_present, last_data_root_of
from benchmarks.data.sources.source import Location
from benchmarks.models import check_model
from benchmarks.rows.row import Metrics, Row, State
from benchmarks.scenarios.current_code import changed_code, with_current_code
from benchmarks.scenarios.scenario import make_scenario
from harness.config.plugins import Plugins
from harness.config.trust import Consent, names_of_code, places_of, require_found
from harness.execution.attempt import Surroundings, run_attempt
from harness.machines.devices import device_here
from harness.planning.missing_data import datasets_of
from harness.store import ResultStore, find_cell, read_stores
from harness.suite_cell import ID_LENGTH, SuiteCell
from splitters.errors import ConfigurationError
from splitters.foreign_code import calling
from splitters.methods.protocol import ProgressCallback, ignore_progress, make_splitter

_TIMES = ("split_seconds",)


@dataclass(frozen=True)
class Rerun:
    """A cell that was run again.

    Args:
        row: The new row.
        before: The row that counted before.
        changed_code: What has other code now than when the earlier row was written, e.g. ``the splitter 'mine'``; the
            new row then belongs to another cell.
    """

    row: Row
    before: Row
    changed_code: Sequence[str] = ()

    @property
    def changed_images(self) -> Sequence[str]:
        """The data sets whose images are others now."""
        cell = _cell_of(self.before)
        other = make_scenario(cell.scenario, cell.scenario_settings).other_dataset(cell)
        hashes = [
            (cell.dataset.name, self.before.dataset_hash, self.row.dataset_hash),
            (other.name if other else "", self.before.other_dataset_hash, self.row.other_dataset_hash),
        ]
        return [name for name, before, now in hashes if before and now and before != now]

    @property
    def numbers(self) -> list[str]:
        """The columns that hold one number each and should not change; times may."""
        scalars = (int, float, bool, type(None))
        names = [name for name in Metrics.model_fields if name not in _TIMES]
        return [name for name in names if isinstance(getattr(self.row, name), scalars)]

    @property
    def is_comparable(self) -> bool:
        """Whether both rows have numbers."""
        return self.before.state is self.row.state is State.OK

    @property
    def differing(self) -> Mapping[str, tuple[Any, Any]]:
        """The numbers that have changed, before and now; those that the earlier row lacks are not compared."""
        if not self.is_comparable:
            return {}
        pairs = {name: (getattr(self.before, name), getattr(self.row, name)) for name in self.numbers}
        return {name: pair for name, pair in pairs.items() if pair[0] is not None and pair[0] != pair[1]}

    @property
    def is_well(self) -> bool:
        """Whether the cell is done now, and has lost or changed no number that it had."""
        if self.before.state is State.OK:
            return self.is_comparable and not self.differing
        return self.row.state.is_final


def find_row(prefix: str, results: str | None) -> tuple[str, Row]:
    """Return the store of the one cell whose id begins with a prefix, and the row of it that counts.

    Damaged files of the stores are moved to quarantine, since a new row is about to be written.

    Args:
        prefix: The beginning of the cell's id.
        results: The store to look in; every folder in ``./results`` by default.

    Raises:
        ConfigurationError: If there is no such cell, or more than one.
    """
    location, attempts = find_cell(prefix, read_stores(results, quarantine=True))
    return location, attempts[-1]


def plugins_of_row(row: Row, consent: Consent | None = None) -> Plugins:
    """Return the plugins that a row's cell needs, with the folder on this machine of these and of models beside them.

    Raises:
        ConfigurationError: If they are not trusted here, see ``harness.config.trust``, or are in several folders.
    """
    consent, where, config = consent or Consent(), f"cell {row.cell_id[:ID_LENGTH]}", json.loads(row.config)
    modules = tuple(row.plugins or ())
    folders = places_of(modules, config)
    models = [name.removeprefix("model ") for name in names_of_code(Plugins(), config)]
    if len(folders) > 1 and consent.folder is None:
        raise ConfigurationError(
            f"{where}: its code ({', '.join([*modules, *models])}) is in several folders on this machine: "
            f"{', '.join(folders)}. Say which with --plugins DIR."
        )
    folder = folders[0] if folders else ""
    if not modules:
        return Plugins(folder=consent.folder or folder, models=True) if models else Plugins()
    plugins = consent.admit(Plugins(modules, folder), {}, where=where)
    require_found(plugins, consent, where=where)
    return replace(plugins, models=bool(models))


def require_trusted_models(row: Row, consent: Consent | None = None) -> None:
    """Check that a row's models may be imported where they are code; see ``harness.config.trust``.

    Raises:
        ConfigurationError: If one may not.
    """
    (consent or Consent()).admit(Plugins(), json.loads(row.config), where=f"cell {row.cell_id[:ID_LENGTH]}")


def require_runnable(row: Row, plugins: Plugins) -> None:
    """Check that a row's cell can be run again, before anything is.

    Args:
        row: The row.
        plugins: What to import for its names.

    Raises:
        ConfigurationError: If a name or setting is unknown here, or this version would measure something else.
    """
    where = f"cell {row.cell_id[:ID_LENGTH]}"
    plugins.load()
    cell = _cell_of(row)
    scenario = make_scenario(cell.scenario, cell.scenario_settings, where=where)
    _require_same_meaning(cell, row)
    check_model(cell.model, where=where)
    check_dataset(cell.dataset.name, where=where)
    with calling(f"{where}: scenario {cell.scenario!r}"):
        scenario.check(cell)


def locate_data(row: Row, location: Location) -> Location:
    """Return where a row's cell finds its data: without a data root, also where it was found last.

    Raises:
        DataError: If a data set that the cell needs is absent.
    """
    cell = _cell_of(row)
    for spec in datasets_of([cell]):
        check_present(spec, location=location, last_data_root=True)
    return replace(location, data_root=location.data_root or last_data_root_of(cell.dataset, location.cache))


def rerun_cell(
    row: Row, store: ResultStore, surroundings: Surroundings, *, progress: ProgressCallback = ignore_progress
) -> Rerun:
    """Run a row's cell in this process, store the new row, and return both.

    Args:
        row: The row.
        store: Where the new one goes.
        surroundings: Caches, data and plugins.
        progress: Called with the cell's progress.

    Raises:
        ConfigurationError: If this version would measure something else under that configuration.
    """
    cell = _cell_of(row)
    _require_same_meaning(cell, row)
    current = with_current_code(cell)
    device, gpu_share = device_here(cell)
    again = run_attempt(
        SuiteCell(current, row.splitter_label, tuple(row.plugins or ())),
        surroundings,
        device=device,
        gpu_share=gpu_share,
        progress=progress,
    )
    store.write(again)
    return Rerun(again, row, changed_code(cell, current))


def _require_same_meaning(cell: Cell, row: Row) -> None:
    """Check that this version reads the splitter's settings as they were when the row was written.

    A setting that came since would take its default, and a splitter that the settings name (``like``) would be that of
    today, although neither is in the cell's id.
    """
    where = f"cell {row.cell_id[:ID_LENGTH]}"
    stored = cell.splitter.settings
    read = make_splitter(cell.splitter.name, stored, where=where).settings.model_dump(mode="json")
    differing = sorted(key for key in stored.keys() | read.keys() if stored.get(key) != read.get(key))
    if differing:
        raise ConfigurationError(
            f"{where}: this version of Splitbench reads {', '.join(differing)} of {cell.splitter.name!r} in another "
            f"way. {_version_that_wrote(row)}"
        )


def _cell_of(row: Row) -> Cell:
    cell = Cell.model_validate_json(row.config)
    if cell.cell_id != row.cell_id:
        raise ConfigurationError(
            f"{row.cell_id[:ID_LENGTH]}: this version of Splitbench gives its configuration another id, "
            f"{cell.cell_id[:ID_LENGTH]}, as results would differ. {_version_that_wrote(row)}"
        )
    return cell


def _version_that_wrote(row: Row) -> str:
    return f"Use the version that wrote the row: {row.splitbench_version} ({row.git_commit or 'no commit'})."
