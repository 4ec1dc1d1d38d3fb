"""Run cells again that have rows: the same configuration must give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, SplitterSpec
from benchmarks.data.datasets import check_dataset, check_present, last_data_root_of
from benchmarks.data.sources.source import Location
from benchmarks.models import check_model, check_weights
from benchmarks.models.given import find_published
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
from splitters.errors import ConfigurationError, ModuleFileError, UnknownNameError
from splitters.foreign_code import calling
from splitters.methods.protocol import ProgressCallback, SplitterReference, ignore_progress, make_splitter

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
        ConfigurationError: If a name or setting is unknown here, this version would measure something else, or the
            weights of a given model are not those of the row.
    """
    where = f"cell {row.cell_id[:ID_LENGTH]}"
    plugins.load()
    cell = _cell_of(row)
    with _with_way_out(row, [cell.scenario] if cell.scenario_code else []):
        scenario = make_scenario(cell.scenario, cell.scenario_settings, where=where)
    _settings_of_today(cell, row)
    check_model(cell.model, where=where)
    try:
        check_weights(cell.model, where=where)
    except ModuleFileError as error:
        raise ConfigurationError(f"{where}: {error}") from error
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


def require_published(row: Row, cache: Path, *, download: bool) -> None:
    """Look for the published weights that a row's model names, if it names some, and fetch them if asked to.

    Raises:
        DataError: If they are absent and may not, or cannot, be fetched.
    """
    model = _cell_of(row).model
    published = find_published(model, cache, download=download) if model.is_given else None
    if published is not None:
        published.file(cache, download=download)


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
    settings = _settings_of_today(cell, row)
    current = with_current_code(cell)
    splitter = current.splitter.model_copy(update={"settings": settings})
    current = current.model_copy(update={"splitter": splitter})
    device, gpu_share = device_here(cell)
    again = run_attempt(
        SuiteCell(current, row.splitter_label, tuple(row.plugins or ())),
        surroundings,
        device=device,
        gpu_share=gpu_share,
        progress=progress,
    )
    store.write(again)
    changed = [*changed_code(cell, current), *_changed_references(cell.splitter.settings, settings)]
    return Rerun(again, row, list(dict.fromkeys(changed)))


def _settings_of_today(cell: Cell, row: Row) -> dict[str, Any]:
    """Return the splitter's settings with the code that the splitters they name (``like``) have today.

    Raises:
        ConfigurationError: If they would be read differently than when the row was written: a setting that came since
            would take its default, and a splitter that they name would be that of today, although neither is in the
            cell's id.
    """
    where, name, stored = f"cell {row.cell_id[:ID_LENGTH]}", cell.splitter.name, cell.splitter.settings
    with _with_way_out(row, _plugins_in(cell.splitter, stored)):
        read = make_splitter(name, stored, where=where).settings.model_dump(mode="json")
    differing = sorted(
        key for key in stored.keys() | read.keys() if _without_code(stored.get(key)) != _without_code(read.get(key))
    )
    if differing:
        plugins = _plugins_in(cell.splitter, [stored.get(key) for key in differing])
        reader = "what runs today" if plugins else "this version of Splitbench"
        raise ConfigurationError(
            f"{where}: {reader} reads {', '.join(differing)} of {name!r} in another way. {_way_out(row, plugins)}"
        )
    return {key: read.get(key, value) for key, value in stored.items()}


def _plugins_in(splitter: SplitterSpec, settings: object) -> list[str]:
    """Return which of a splitter and those that some of its settings name came from plug-ins."""
    named = [reference["name"] for reference in _references(settings) if reference.get("code")]
    return list(dict.fromkeys([splitter.name, *named] if splitter.code else named))


def _references(settings: object) -> Iterator[Mapping[str, Any]]:
    """Yield the splitters that settings name, each before those that its own settings name."""
    if isinstance(settings, Mapping):
        if _is_reference(settings):
            yield settings
        for key in sorted(settings):
            yield from _references(settings[key])
    elif isinstance(settings, list):
        for value in settings:
            yield from _references(value)


def _is_reference(value: Mapping[str, Any]) -> bool:
    return SplitterReference.model_fields.keys() - {"code"} <= value.keys()


def _without_code(value: Any) -> Any:
    """Return a setting without the code of the splitters that it names."""
    if isinstance(value, Mapping):
        left_out = {"code"} if _is_reference(value) else set()
        return {key: _without_code(item) for key, item in value.items() if key not in left_out}
    return [_without_code(item) for item in value] if isinstance(value, list) else value


def _changed_references(stored: object, read: object) -> list[str]:
    """Return the splitters that settings name whose code differs, e.g. ``the splitter 'mine'``."""
    pairs = zip(_references(stored), _references(read), strict=True)
    return [f"the splitter {now['name']!r}" for before, now in pairs if before.get("code", "") != now.get("code", "")]


@contextmanager
def _with_way_out(row: Row, plugins: Sequence[str]) -> Iterator[None]:
    """Add the cell and the way out to the error that its settings are unknown or not allowed today.

    Args:
        row: The row.
        plugins: The names in its configuration that plug-ins registered.
    """
    where = f"cell {row.cell_id[:ID_LENGTH]}"
    try:
        yield
    except UnknownNameError as error:
        raise ConfigurationError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {str(error).removeprefix(f'{where}: ')} {_way_out(row, plugins)}") from None


def _way_out(row: Row, plugins: Sequence[str]) -> str:
    if not plugins:
        return _version_that_wrote(row)
    names = " or ".join(map(repr, plugins))
    return (
        f"The settings or the code of the plug-in {names} have changed since: use the plug-in of then, or run the "
        "suite again, which makes a new cell."
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
