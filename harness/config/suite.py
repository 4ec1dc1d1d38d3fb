"""Suites: YAML files that name splitters, base models and data sets, and mean all their combinations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr
from pydantic.config import JsonDict

from benchmarks.cells import DatasetSpec, ModelSpec, TrainingSpec
from harness.config.overrides import Change, apply_changes
from harness.config.yaml_source import Source, read_text, read_yaml
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.settings import Precision, Settings

MAX_CELLS = 100_000
"""Of a suite, and of its seeds: more is a slip of the pen that would fill the memory before anything runs."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _read_duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
    if match is None:
        raise ValueError(f"a duration is written in seconds or as '90s', '30m', '12h' or '2d', not {value!r}")
    return float(match[1]) * _UNITS[match[2] or "s"]


_MAX_NAME_BYTES = 200
"""Bytes of a suite's name; file systems take 255."""

_DurationText = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*[smhd]?\s*$", examples=["30m"])]

Duration = Annotated[
    float,
    BeforeValidator(_read_duration, json_schema_input_type=Annotated[float, Field(gt=0)] | _DurationText),
    Field(gt=0),
]
"""Seconds, read from a number or from ``30m``."""


def _short_enough(name: str) -> str:
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"a name is at most {_MAX_NAME_BYTES} bytes, as results are in a folder of that name")
    return name


SuiteName = Annotated[str, Field(pattern=r"^[\w.-]*[\w-][\w.-]*$"), AfterValidator(_short_enough)]
"""The name of a suite or sweep, and of the folder of its results."""


def _read_seeds(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"seeds are a count or a list of integers, not {value!r}")
    if value < 1:
        raise ValueError(f"a count of seeds is at least 1, not {value}")
    if value > MAX_CELLS:
        raise ValueError(f"a count of seeds is at most {MAX_CELLS:,}, not {value:,}; to name one seed, write [{value}]")
    return list(range(value))


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"a seed appears twice in {list(seeds)}")
    return seeds


_Seed = Annotated[int, Field(ge=0, lt=2**63)]
_SeedList = Annotated[list[_Seed], Field(min_length=1, json_schema_extra={"uniqueItems": True})]

Seeds = Annotated[
    tuple[_Seed, ...],
    BeforeValidator(_read_seeds, json_schema_input_type=Annotated[int, Field(ge=1)] | _SeedList),
    AfterValidator(_distinct),
    Field(min_length=1),
]
"""Seeds as a list, or a count: 3 means 0, 1 and 2."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""Names as a list, or a single one."""


class Filter(Settings):
    """Which cells are meant: those that match every key that is given, by any of its values.

    Args:
        scenario: Names of scenarios.
        splitter: Names or labels of splitters.
        model: Names of models.
        dataset: Names of data sets.
        seed: Seeds.
    """

    scenario: Names = ()
    splitter: Names = ()
    model: Names = ()
    dataset: Names = ()
    seed: Annotated[tuple[int, ...], BeforeValidator(_as_list, json_schema_input_type=int | list[int])] = ()


class Override(Settings):
    """Settings of a splitter that hold on some models or data sets only.

    Args:
        model: Names of models; all if none is given.
        dataset: Names of data sets; all if none is given.
        settings: What differs there.
    """

    model: Names = ()
    dataset: Names = ()
    settings: dict[str, Any]


class SplitterEntry(Settings):
    """A splitter of a suite.

    Args:
        name: The name of a splitter.
        label: What it is called on leaderboards; tells two configurations of one splitter apart.
        settings: Its settings. ``like: LABEL`` stands for the name and settings of another splitter of the suite.
        overrides: Settings for some models or data sets; of two that fit, the later one wins.
    """

    name: str
    label: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    overrides: tuple[Override, ...] = ()


class ScenarioEntry(Settings):
    """A scenario of a suite, on all of the suite's cells or on some.

    Args:
        name: The name of a scenario.
        settings: Its settings.
        splitters: Names or labels of the splitters that it measures; all if none is given.
        models: Names of the models.
        datasets: Names of the data sets.
        first_seeds: How many of the suite's seeds, from the first on; all if it is not given.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    splitters: Names = ()
    models: Names = ()
    datasets: Names = ()
    first_seeds: int | None = Field(default=None, ge=1)


def _as_entries(value: object) -> object:
    entries = _as_list(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]


Scenarios = Annotated[
    tuple[ScenarioEntry, ...],
    BeforeValidator(
        _as_entries,
        json_schema_input_type=str | ScenarioEntry | Annotated[list[str | ScenarioEntry], Field(min_length=1)],
    ),
]
"""Scenarios as a list, or a single one, each a name or a name with settings."""


_NOT_EMPTY: JsonDict = {"minItems": 1}


class Suite(Settings):
    """A named set of cells: the product of all splitters, models, data sets, scenarios and seeds.

    Args:
        name: The suite's name; its rows carry it.
        description: One line for people.
        plugins: Modules to import first, looked for beside the file too: they register splitters and the like.
        scenario: A scenario or several; each is a name, or a name with settings and the cells that it measures.
        seeds: A list, or a count: 3 means 0, 1 and 2.
        threads: CPU threads of each cell.
        device: Where cells run; ``auto`` takes a GPU if there is one.
        precision: How networks compute in training, searches and evaluation: in ``float32``; on GPUs, with factors that
            tensor cores round to ``tf32``; or in ``bf16``, with sums, weights and optimisers in float32.
        compile: Whether base models in training, and the masked network of searches by gradients, are compiled by
            ``torch.compile``; on the CPU, it needs a C++ compiler.
        gpu_share: The share of a GPU that each cell owns on Ray; below 1, cells share GPUs and timings suffer.
        timeout: How long a cell may take, in seconds or as ``30m``; no limit by default.
        models: Names, or names with settings.
        datasets: Names, or names with the shape and the images that are used. Relative folders are looked for in
            ``--data-root``, beside the file, and in the current folder.
        training: How base models are trained.
        splitters: Names, or names with settings.
        only: If given, cells that match none of these are left out.
        exclude: Cells that match one of these are left out.
    """

    name: SuiteName
    description: str = ""
    plugins: Names = ()
    scenario: Scenarios = Field(default=(ScenarioEntry(name="modularization"),), min_length=1)
    seeds: Seeds = (0,)
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "float32"
    compile: bool = False
    gpu_share: float = Field(default=1.0, gt=0, le=1)
    timeout: Duration | None = None
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    splitters: tuple[SplitterEntry, ...] = Field(min_length=1)
    only: tuple[Filter, ...] = Field(default=(), json_schema_extra=_NOT_EMPTY)
    exclude: tuple[Filter, ...] = Field(default=(), json_schema_extra=_NOT_EMPTY)

    _source: Source = PrivateAttr(default=Source("suite"))

    @property
    def source(self) -> Source:
        """Where the suite was read from."""
        return self._source

    @property
    def folder(self) -> Path | None:
        """The folder of the suite's file; None for a suite that comes with the package or from Python."""
        path = Path(self._source.path) if self._source.path else None
        return path.parent if path is not None else None


def suite_names() -> list[str]:
    """Return the names of the suites that come with the package."""
    return [name for name, is_sweep_file in _packaged().items() if not is_sweep_file]


def sweep_names() -> list[str]:
    """Return the names of the sweeps that come with the package."""
    return [name for name, is_sweep_file in _packaged().items() if is_sweep_file]


def is_sweep(values: object) -> bool:
    """Return whether the values of a YAML file are a sweep's: they have objectives, which no suite has."""
    return isinstance(values, Mapping) and "objectives" in values


def names_sweep(name_or_path: str) -> bool:
    """Return whether the name of a packaged file, or a path, is that of a sweep rather than a suite."""
    if name_or_path in _packaged() or not Path(name_or_path).is_file():
        return name_or_path in sweep_names()
    text = Path(name_or_path).read_text(encoding="utf-8", errors="replace")
    return is_sweep(read_yaml(text, name=name_or_path)[0])


@cache
def _packaged() -> Mapping[str, bool]:
    """Return the names of the packaged files, each with whether it is a sweep."""
    folder = resources.files("benchmarks").joinpath("suites")
    names = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {name: is_sweep(read_yaml(read_packaged(name), name=name)[0]) for name in names}


def read_packaged(name: str) -> str:
    """Return the text of a suite or sweep that comes with the package."""
    return (resources.files("benchmarks") / "suites" / f"{name}.yaml").read_text(encoding="utf-8")


def load_suite(name_or_path: str | Path, *, changes: Sequence[str] = ()) -> Suite:
    """Read a suite.

    Args:
        name_or_path: A name in ``suite_names()``, or a YAML file.
        changes: ``KEY=VALUE`` changes, with dotted keys and YAML values, e.g. ``training.epochs=3``; entries of lists
            are named: ``splitters.gradsplitter.alpha=0.3``. A splitter's setting holds on all models and data sets; its
            ``preset`` replaces the settings of the file that it sets itself.

    Raises:
        ConfigurationError: If there is no such suite, or a key or value in it is unknown or not allowed.
    """
    text, title, path = _open(name_or_path)
    values, source = read_yaml(text, name=title)
    if is_sweep(values):
        raise ConfigurationError(f"{title} has objectives, so it is a sweep; type 'splitbench sweep {name_or_path}'.")
    if not isinstance(values, dict):
        raise ConfigurationError(f"{title}: a suite is a mapping with the keys {', '.join(Suite.model_fields)}.")
    own = _with_list(values, "scenario")
    applied = apply_changes(own, changes)
    return _parse(own, replace(source, path=path, changes=applied.options, given=applied.settings))


def make_suite(values: Mapping[str, Any], *, title: str, changes: Sequence[str] = ()) -> Suite:
    """Return a suite from plain values, checked as one from a file is.

    Args:
        values: What a file would hold.
        title: What messages call it.
        changes: See ``load_suite``.

    Raises:
        ConfigurationError: If a key or value is unknown or not allowed.
    """
    own = _with_list(values, "scenario")
    applied = apply_changes(own, changes)
    return _parse(own, Source(title, changes=applied.options, given=applied.settings))


def _open(name_or_path: str | Path) -> tuple[str, str, str]:
    """Return a suite's text, its title for messages, and its path if it is a file of the user's."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in suite_names():
        return read_packaged(name_or_path), f"{name_or_path}.yaml", ""
    if str(name_or_path) in sweep_names():
        raise ConfigurationError(f"{name_or_path} is a sweep, not a suite; type 'splitbench sweep {name_or_path}'.")
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise UnknownNameError("suite", str(name_or_path), suite_names(), where="a suite is a name or a YAML file")
    return read_text(path, kind="suite"), str(path), str(path.resolve())


def _parse(values: Mapping[str, Any], source: Source) -> Suite:
    for key in values:
        if key not in Suite.model_fields:
            raise unknown_key(str(key), Suite, source)
    values = _with_list(values, "scenario")
    parsed = dict(values)
    for key, model in _LISTS.items():
        if key in values:
            parsed[key] = parse_entries(key, values[key], model, source)
    if isinstance(values.get("training"), Mapping):
        parsed["training"] = TrainingSpec.parse(values["training"], where="training", origin=source, at=("training",))
    suite = Suite.parse(parsed, where="", origin=source)
    suite._source = source
    return suite


def unknown_key(key: str, file: type[Settings], source: Source) -> UnknownNameError:
    """Return the error that a file, or ``--set``, has a key that its model does not have."""
    remedy = f"See {file.explained_in}."
    if any(change.startswith(f"--set {key}=") for change in source.changes):
        remedy = f"A splitter's setting is written splitters.NAME.{key}. {remedy}"
    return UnknownNameError("key", key, file.model_fields, where=source.where(key), remedy=remedy)


def _with_list(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the values with a single entry in the place of a list made a list."""
    single = isinstance(values.get(key), str | Mapping)
    return {**values, key: [values[key]]} if single else dict(values)


_LISTS: dict[str, type[Settings]] = {
    "scenario": ScenarioEntry,
    "models": ModelSpec,
    "datasets": DatasetSpec,
    "splitters": SplitterEntry,
    "only": Filter,
    "exclude": Filter,
}


def parse_entries(key: str, values: object, model: type[Settings], source: Source) -> list[Settings]:
    """Return the entries of a list of a file, each parsed where it stands.

    Args:
        key: The list's key.
        values: What the file holds there.
        model: The model of an entry; where it has a ``name``, a name alone is an entry too.
        source: Where the values come from.

    Raises:
        ConfigurationError: If it is no list or empty, or an entry is wrong.
    """
    if not isinstance(values, list) or not values:
        raise ConfigurationError(
            f"{source.where(key)}: {key!r} must be a list with one entry at least; it is {values!r}."
        )
    return [_parse_entry(key, index, value, model, source) for index, value in enumerate(values)]


def _parse_entry(key: str, index: int, value: object, model: type[Settings], source: Source) -> Settings:
    if isinstance(value, str) and "name" in model.model_fields:
        value = {"name": value}
    where = f"{source.where(key, index)}: {key}"
    if not isinstance(value, Mapping):
        shape = "a name or a mapping" if "name" in model.model_fields else "a mapping"
        raise ConfigurationError(
            f"{where}: an entry is {shape} with the keys {', '.join(model.model_fields)}; not {value!r}."
        )
    title = value.get("label") or value.get("name")
    return model.parse(value, where=f"{key}.{title}" if title else f"{key}[{index}]", origin=source, at=(key, index))


def parse_only(conditions: Iterable[str]) -> Filter:
    """Read ``KEY=VALUE`` conditions: values of one key are alternatives, different keys must all hold.

    Raises:
        ConfigurationError: If a key is unknown, a condition has no ``=``, or a seed is no number.
    """
    values: dict[str, list[str]] = {}
    for condition in conditions:
        change = Change.read(condition, option="--only")
        if change.key not in Filter.model_fields:
            raise UnknownNameError("key", change.key, Filter.model_fields, where=f"--only {condition}")
        if change.key == "seed" and not change.text.isdecimal():
            raise ConfigurationError(
                f"--only {condition}: a seed is one number; for several, repeat it: --only seed=0 --only seed=1."
            )
        values.setdefault(change.key, []).append(change.text)
    return Filter.parse(values, where="--only")
