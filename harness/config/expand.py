"""From a suite to its cells: every combination, with every setting filled in, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.data.datasets import check_dataset, with_code
from benchmarks.models import MODELS, check_given, check_model, code_fingerprint, complete_given
from benchmarks.scenarios.scenario import Scenario, make_scenario
from harness.config.cache_folder import cache_folder
from harness.config.plugins import Plugins
from harness.config.suite import MAX_CELLS, Filter, ScenarioEntry, SplitterEntry, Suite
from harness.config.trust import names_of_code
from harness.garbage_collection import without_garbage_collection
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError, DataError, ModuleFileError, UnknownNameError
from splitters.foreign_code import calling
from splitters.methods.protocol import SPLITTERS, SplitterReference, make_splitter
from splitters.settings import PresetSettings, Settings


def plugins_of(suite: Suite) -> Plugins:
    """Return the modules that a suite's names may come from: its plug-ins, and those of its ``python:`` models."""
    return plugins_beside(str(suite.folder or ""), suite.plugins, suite.model_dump(mode="json"))


def plugins_beside(folder: str, modules: tuple[str, ...], values: object) -> Plugins:
    """Return plug-ins that may be in a folder, where ``python:`` models that a file's values name are found too."""
    return Plugins(modules, folder, models=bool(names_of_code(Plugins(), values)))


@without_garbage_collection
def expand(suite: Suite, *, only: Filter | None = None) -> list[SuiteCell]:
    """Return a suite's cells, each once.

    Seeds come outermost, so that early rows cover the whole suite once; then splitters, so that neighbours train
    different base models.

    Args:
        suite: The suite.
        only: Leaves out all cells that it does not match.

    Raises:
        ConfigurationError: If a name, a setting, or a combination of them is wrong, or no cell is left.
    """
    _check_size(suite)
    plugins_of(suite).load(where=f"{suite.source.where('plugins')}: plugins")
    suite = _with_complete_models(suite)
    _check_names(suite)
    # A seed changes neither the settings nor what there is to check.
    first = [(choice[0], _cell(suite, *choice)) for choice in _choices(suite)]
    cells = [
        _with_seed(item, seed)
        for place, seed in enumerate(suite.seeds)
        for scenario, item in first
        if scenario.first_seeds is None or place < scenario.first_seeds
    ]
    kept = _filtered(cells, suite, only)
    unique = {item.cell.cell_id: item for item in reversed(kept)}
    cells = [unique.pop(item.cell.cell_id) for item in kept if item.cell.cell_id in unique]
    checked = {item.cell.identity_without_seed: item for item in reversed(cells)}
    for item in reversed(checked.values()):
        _check(item, suite)
    return cells


def _check_size(suite: Suite) -> None:
    """Refuse a suite of too many combinations before they are built."""
    n_seeds = sum(min(scenario.first_seeds or MAX_CELLS, len(suite.seeds)) for scenario in suite.scenario)
    n_cells = n_seeds * len(suite.splitters) * len(suite.models) * len(suite.datasets)
    if n_cells > MAX_CELLS:
        raise ConfigurationError(
            f"{suite.source.where()}: its splitters, models, data sets, scenarios and seeds make {n_cells:,} "
            f"combinations; at most {MAX_CELLS:,} are allowed. Name fewer, or make several suites."
        )


def forced(items: Iterable[SuiteCell]) -> list[SuiteCell]:
    """Return cells whose given models are used even if they are implausible; they keep their identity."""
    return [
        replace(item, cell=item.cell.model_copy(update={"model": item.cell.model.model_copy(update={"force": True})}))
        if item.cell.model.is_given
        else item
        for item in items
    ]


def _with_complete_models(suite: Suite) -> Suite:
    """Return a suite whose given models have everything filled in that their weights say."""
    models = []
    for index, model in enumerate(suite.models):
        if model.is_given:
            where = f"{suite.source.where('models', index)}: models"
            check_model(model.architecture, where=where)
            try:
                model = complete_given(model, cache=cache_folder().absolute(), folder=suite.folder, where=where)
            except (DataError, ModuleFileError) as error:
                raise ConfigurationError(f"{where}: {error}") from error
            check_given(model, where=where)
        models.append(model)
    complete = suite.model_copy(update={"models": tuple(models)})
    complete._source = suite.source
    return complete


def _with_seed(item: SuiteCell, seed: int) -> SuiteCell:
    return SuiteCell(item.cell.with_seed(seed), item.label, item.plugins)


def _check_names(suite: Suite) -> None:
    for index, scenario in enumerate(suite.scenario):
        make_scenario(scenario.name, scenario.settings, where=f"{suite.source.where('scenario', index)}: scenario")
    for index, model in enumerate(suite.models):
        check_model(model, where=f"{suite.source.where('models', index)}: models")
    for index, dataset in enumerate(suite.datasets):
        check_dataset(dataset.name, where=f"{suite.source.where('datasets', index)}: datasets")
    _check_scenarios(suite)
    for index, splitter in enumerate(suite.splitters):
        where = f"{suite.source.where('splitters', index)}: splitters.{splitter.label or splitter.name}"
        _check_overrides(suite, splitter, where)
    labels = [entry.label for entry in suite.splitters if entry.label]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigurationError(
                f"{suite.source.where('splitters')}: the label {label!r} appears twice; change one."
            )


def _check_scenarios(suite: Suite) -> None:
    """Refuse a scenario that is to measure what the suite does not have."""
    known = {
        "splitters": {name for entry in suite.splitters for name in _names_of(entry)},
        "models": {model.name for model in suite.models},
        "datasets": {dataset.name for dataset in suite.datasets},
    }
    for index, scenario in enumerate(suite.scenario):
        where = f"{suite.source.where('scenario', index)}: scenario.{scenario.name}"
        for key, names in known.items():
            for name in getattr(scenario, key):
                if name not in names:
                    raise UnknownNameError(f"entry of {key}", name, names, where=f"{where}: {key}")


def _names_of(entry: SplitterEntry) -> tuple[str, ...]:
    return (entry.name,) if entry.label is None else (entry.name, entry.label)


def _check_overrides(suite: Suite, splitter: SplitterEntry, where: str) -> None:
    """Refuse an override for a model or data set that the suite does not have: it would change nothing.

    Where the command line puts others in their place (``--set models=[rescnn]``), that is no slip of the pen.
    """
    for index, override in enumerate(splitter.overrides):
        for kind, wanted, known in (
            ("model", override.model, [model.name for model in suite.models]),
            ("dataset", override.dataset, [dataset.name for dataset in suite.datasets]),
        ):
            replaced = any(change.startswith(f"--set {kind}s=") for change in suite.source.changes)
            for name in wanted:
                if name not in known and not replaced:
                    raise UnknownNameError(f"{kind} of this suite", name, known, where=f"{where}: overrides[{index}]")


def _choices(suite: Suite) -> Iterator[tuple[ScenarioEntry, int, DatasetSpec, ModelSpec]]:
    """Yield what cells are made of, but for the seed."""
    models = [_completed_model(model) for model in suite.models]
    datasets = [with_code(dataset) for dataset in suite.datasets]
    for scenario, index, dataset, model in product(suite.scenario, range(len(suite.splitters)), datasets, models):
        if (
            _matches_any(_names_of(suite.splitters[index]), scenario.splitters)
            and _matches_any(model.name, scenario.models)
            and _matches_any(dataset.name, scenario.datasets)
        ):
            yield scenario, index, dataset, model


def _cell(suite: Suite, scenario: ScenarioEntry, index: int, dataset: DatasetSpec, model: ModelSpec) -> SuiteCell:
    entry = suite.splitters[index]
    made = make_scenario(scenario.name, scenario.settings)
    cell = Cell(
        scenario=scenario.name,
        scenario_settings=_plain(made.settings, where=f"scenario {scenario.name!r}"),
        scenario_version=made.version,
        scenario_code=_code_of(made),
        splitter=_Resolver(suite, model.name, dataset.name).spec(index),
        model=model.model_copy(update={"input_shape": None}),
        dataset=dataset.model_copy(update={"input_shape": model.input_shape}) if model.input_shape else dataset,
        training=TrainingSpec() if model.is_given else suite.training,
        threads=suite.threads,
        device=suite.device,
        precision=suite.precision,
        compile=suite.compile,
    )
    return SuiteCell(cell, entry.label, suite.plugins)


@dataclass(frozen=True)
class _Resolver:
    """Fills in the settings of a suite's splitters on one model and data set."""

    suite: Suite
    model: str
    dataset: str

    def spec(self, index: int, *, seen: tuple[int, ...] = ()) -> SplitterSpec:
        entry = self.suite.splitters[index]
        where = f"{self.suite.source.where('splitters', index)}: splitters.{entry.label or entry.name}"
        if index in seen:
            raise ConfigurationError(f"{where}: 'like' leads back to itself.")
        given = self.suite.source.given.get(index, frozenset())
        settings = dict(entry.settings)
        for override in entry.overrides:
            if _matches_any(self.model, override.model) and _matches_any(self.dataset, override.dataset):
                settings.update({key: value for key, value in override.settings.items() if key not in given})
        settings = with_given_preset(entry.name, settings, given, where=where)
        if _names_a_splitter(SPLITTERS.get(entry.name, where=where).Settings):
            if isinstance(settings.get("like"), str):
                settings["like"] = self._like(settings["like"], where, (*seen, index))
            _check_reference(settings.get("like"), where=f"{where}: like")
        return completed_splitter(entry.name, settings, where=where)

    def _like(self, name: str, where: str, seen: tuple[int, ...]) -> dict[str, Any]:
        names = [entry.label or entry.name for entry in self.suite.splitters]
        if name not in names:
            raise UnknownNameError("splitter of this suite", name, names, where=f"{where}: like")
        meant = self.spec(names.index(name), seen=seen)
        return {"name": meant.name, "settings": meant.settings}


def _names_a_splitter(model: type[Settings]) -> bool:
    """Return whether ``like`` is a splitter in these settings; a plug-in's may be anything."""
    field = model.model_fields.get("like")
    return field is not None and SplitterReference in (field.annotation, *get_args(field.annotation))


def _check_reference(like: object, *, where: str) -> None:
    """Check another splitter that is written out, whose own settings would be refused without saying where it is."""
    if isinstance(like, Mapping) and isinstance(like.get("name"), str):
        settings = like.get("settings") or {}
        if isinstance(settings, Mapping):
            make_splitter(like["name"], settings, where=where)


def with_given_preset(name: str, settings: Mapping[str, Any], given: frozenset[str], *, where: str) -> dict[str, Any]:
    """Return a splitter's settings without those that a preset from the command line replaces.

    Args:
        name: The splitter's name.
        settings: Its settings in the file, with the changes from the command line.
        given: Those that the command line gives; they stay.
        where: The file and key with the splitter, for messages.

    Raises:
        UnknownNameError: If there is no such splitter.
    """
    replaced = settings_of_preset(name, settings["preset"], where=where) - given if "preset" in given else frozenset()
    return {key: value for key, value in settings.items() if key not in replaced}


def settings_of_preset(name: str, preset: object, *, where: str) -> frozenset[str]:
    """Return the settings that a preset of a splitter sets; none where the splitter has no such preset.

    Raises:
        UnknownNameError: If there is no such splitter.
    """
    model = SPLITTERS.get(name, where=where).Settings
    known = model.presets if issubclass(model, PresetSettings) else {}
    return frozenset(known.get(preset, ())) if isinstance(preset, str) else frozenset()


def completed_splitter(name: str, settings: Mapping[str, Any], *, where: str = "") -> SplitterSpec:
    """Return a splitter with all its settings, defaults included, so that a cell's identity covers them.

    Raises:
        ConfigurationError: If the name or a setting is unknown, or a value is not allowed.
    """
    cls = SPLITTERS.get(name, where=where)
    values = cls.Settings.parse(settings, where=where or f"splitter {name!r}")
    return SplitterSpec(
        name=name,
        settings=_plain(values, where=where or f"splitter {name!r}"),
        version=cls.version,
        code=SPLITTERS.code_fingerprint(name),
    )


def _plain(settings: Settings, *, where: str) -> dict[str, Any]:
    """Return settings as plain values, which a cell's identity and its row hold."""
    try:
        return settings.model_dump(mode="json")
    except ValueError as error:
        raise ConfigurationError(f"{where}: a setting cannot be written as JSON: {error}.") from None


def _code_of(scenario: Scenario) -> str:
    try:
        return scenario.code_fingerprint()
    except ConfigurationError:
        return ""  # The check of the cells, which follows, says what is wrong, and where.


def _completed_model(model: ModelSpec) -> ModelSpec:
    """Return a model with all its settings where its architecture declares them, and the hash of the user's code."""
    settings_model = getattr(MODELS.get(model.name), "settings_model", None) if model.name in MODELS else None
    values = model.settings
    if isinstance(settings_model, type) and issubclass(settings_model, Settings):
        values = settings_model.parse(values, where=f"model {model.name!r}").model_dump(mode="json")
    try:
        code = code_fingerprint(model)
    except ConfigurationError:
        code = ""  # The check of the cells, which follows, says what is wrong, and where.
    return model.model_copy(update={"settings": values, "code": code})


def _filtered(cells: list[SuiteCell], suite: Suite, only: Filter | None) -> list[SuiteCell]:
    for key, filters in (("only", suite.only), ("exclude", suite.exclude)):
        for index, condition in enumerate(filters):
            _check_filter(condition, cells, f"{suite.source.where(key, index)}: {key}[{index}]")
    if only is not None:
        _check_filter(only, cells, "--only")
    kept = [
        item
        for item in cells
        if (not suite.only or any(matches(item, condition) for condition in suite.only))
        and not any(matches(item, condition) for condition in suite.exclude)
        and (only is None or matches(item, only))
    ]
    if not kept:
        raise ConfigurationError(f"{suite.source.where()}: no cell is left; see 'only', 'exclude' and --only.")
    return kept


def matches(item: SuiteCell, condition: Filter) -> bool:
    """Return whether a cell matches every key of a filter; a splitter goes by its name or its label."""
    offered = _offered(item)
    return all(_matches_any(offered[key], wanted) for key, wanted in _conditions(condition))


def _conditions(condition: Filter) -> Iterator[tuple[str, tuple[object, ...]]]:
    for key in Filter.model_fields:
        yield key, getattr(condition, key)


def _offered(item: SuiteCell) -> dict[str, tuple[object, ...]]:
    cell = item.cell
    return {
        "scenario": (cell.scenario,),
        "splitter": (cell.splitter.name, item.splitter),
        "model": (cell.model.name,),
        "dataset": (cell.dataset.name,),
        "seed": (cell.seed,),
    }


def _matches_any(offered: object, wanted: Iterable[object]) -> bool:
    values = offered if isinstance(offered, tuple) else (offered,)
    wanted = tuple(wanted)
    return not wanted or any(value in wanted for value in values)


def _check_filter(condition: Filter, cells: list[SuiteCell], where: str) -> None:
    """Refuse a filter's value that no cell has, which is a slip of the pen."""
    for key, wanted in _conditions(condition):
        known = {str(value) for item in cells for value in _offered(item)[key]}
        for value in wanted:
            if str(value) not in known:
                raise UnknownNameError(f"{key} of this suite", str(value), known, where=where)


def _check(item: SuiteCell, suite: Suite) -> None:
    try:
        scenario = make_scenario(item.cell.scenario, item.cell.scenario_settings)
        with calling(f"scenario {item.cell.scenario!r}"):
            scenario.check(item.cell)
    except ConfigurationError as error:
        raise ConfigurationError(f"{suite.source.where()}: {item.title}: {error}") from None
