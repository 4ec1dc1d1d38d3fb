"""Reading sweeps from files, from the package, and from plain values; every error names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cells import DatasetSpec, ModelSpec, TrainingSpec
from harness.config.expand import with_given_preset
from harness.config.overrides import apply_changes
from harness.config.suite import parse_entries, read_packaged, sweep_names, unknown_key
from harness.config.yaml_source import Source, read_text, read_yaml
from harness.sweep.definition.file import (
    CURVE_METRICS,
    SAMPLERS,
    Budget,
    EarlyStopping,
    Race,
    SamplerSpec,
    SearchedSplitter,
    Sweep,
)
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.settings import Settings


def load_sweep(name_or_path: str | Path, *, changes: Sequence[str] = ()) -> Sweep:
    """Read and check a sweep.

    Args:
        name_or_path: A name in ``sweep_names()``, or a YAML file.
        changes: ``KEY=VALUE`` changes as of a suite, e.g. ``splitters.gradsplitter.space.alpha={float: [0.1, 1]}``.

    Raises:
        ConfigurationError: If there is no such sweep, or a key or value in it is unknown or not allowed.
    """
    text, title, path = _open(name_or_path)
    values, source = read_yaml(text, name=title)
    if not isinstance(values, dict):
        raise ConfigurationError(f"{title}: a sweep is a mapping with the keys {', '.join(Sweep.model_fields)}.")
    if "objectives" not in values:
        raise ConfigurationError(
            f"{title}: a sweep has 'objectives', for example {{accuracy_loss: min, kernel_retention: min}}. "
            "A file without them is a suite: 'splitbench run' runs it."
        )
    applied = apply_changes(values, changes)
    return make_sweep(values, replace(source, path=path, changes=applied.options, given=applied.settings))


def make_sweep(values: Mapping[str, Any], source: Source, *, folder: str | None = None) -> Sweep:
    """Return a checked sweep from the values of a file; plugins may be in ``folder``, by default that of the file.

    Raises:
        ConfigurationError: If a key or value is unknown or not allowed.
    """
    for key in values:
        if key not in Sweep.model_fields:
            raise unknown_key(str(key), Sweep, source)
    parsed = dict(values)
    for key, model in _LISTS.items():
        if key in values:
            parsed[key] = parse_entries(key, values[key], model, source)
    if isinstance(values.get("sampler"), str):
        parsed["sampler"] = {"name": values["sampler"]}
    for key, part in _PARTS.items():
        if isinstance(parsed.get(key), Mapping):
            parsed[key] = _parse_part(key, parsed[key], part, source)
    if isinstance(values.get("constraints"), str):
        parsed["constraints"] = [values["constraints"]]
    sweep = Sweep.parse(parsed, where="", origin=source)
    beside = str(Path(source.path).parent) if source.path else ""
    sweep.located(source, beside if folder is None else folder)
    sweep.plugin_modules.load()
    sweep = _with_given_presets(sweep)
    _check(sweep)
    return sweep


def _with_given_presets(sweep: Sweep) -> Sweep:
    """Return a sweep without the settings that presets from the command line replace."""
    splitters = []
    for index, entry in enumerate(sweep.splitters):
        given, where = sweep.source.given.get(index, frozenset()), f"{sweep.where('splitters', index)}.{entry.title}"
        settings = with_given_preset(entry.name, entry.settings, given, where=where)
        splitters.append(entry.model_copy(update={"settings": settings}))
    return sweep.model_copy(update={"splitters": tuple(splitters)})


_LISTS: dict[str, type[Settings]] = {"models": ModelSpec, "datasets": DatasetSpec, "splitters": SearchedSplitter}
_PARTS: dict[str, type[Settings]] = {
    "training": TrainingSpec,
    "sampler": SamplerSpec,
    "budget": Budget,
    "race": Race,
    "early_stopping": EarlyStopping,
}


def _parse_part(key: str, values: Mapping[str, Any], part: type[Settings], source: Source) -> Settings:
    if part is SamplerSpec and "name" in values and values["name"] not in SAMPLERS:
        raise UnknownNameError("sampler", str(values["name"]), SAMPLERS, where=f"{source.where(key)}: {key}")
    return part.parse(values, where=key, origin=source, at=(key,))


def _open(name_or_path: str | Path) -> tuple[str, str, str]:
    """Return a sweep's text, its title for messages, and its path if it is the user's file."""
    if isinstance(name_or_path, str) and name_or_path in sweep_names():
        return read_packaged(name_or_path), f"{name_or_path}.yaml", ""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise UnknownNameError("sweep", str(name_or_path), sweep_names(), where="a sweep is a name or a YAML file")
    return read_text(path, kind="sweep"), str(path), str(path.resolve())


def _check(sweep: Sweep) -> None:
    titles = [entry.title for entry in sweep.splitters]
    for index, title in enumerate(titles):
        if title in titles[:index]:
            raise ConfigurationError(f"{sweep.where('splitters', index)}: {title!r} appears twice; give one a label.")
    _ = sweep.goals, sweep.bounds, sweep.spaces, sweep.cells
    for name in sweep.reference:
        if name not in sweep.objectives:
            raise UnknownNameError("objective", name, sweep.objectives, where=sweep.where("reference", name))
    _check_early_stopping(sweep)
    if sweep.race is not None and sweep.race.after >= len(sweep.seeds):
        raise ConfigurationError(
            f"{sweep.where('race')}: every configuration gets {sweep.race.after} seeds, and there are "
            f"{len(sweep.seeds)}; a race needs more seeds, or leave 'race' out."
        )
    for index, space in enumerate(sweep.spaces if sweep.sampler.name == "grid" else ()):
        for parameter in space.parameters:
            if parameter.values is None:
                raise ConfigurationError(
                    f"{sweep.where('splitters', index, 'space', parameter.name)}.{space.label}.space."
                    f"{parameter.name}: a grid needs an end: give the range a 'step', or write choices."
                )


def _check_early_stopping(sweep: Sweep) -> None:
    stopping, where = sweep.early_stopping, sweep.where("early_stopping")
    if stopping is None:
        return
    if stopping.metric is not None and stopping.metric not in CURVE_METRICS:
        raise UnknownNameError("metric", stopping.metric, CURVE_METRICS, where=f"{where}: metric")
    known = ", ".join(CURVE_METRICS)
    if stopping.metric is None and len(sweep.goals) > 1:
        raise ConfigurationError(
            f"{where}: it compares trials by one number, and there are {len(sweep.goals)} objectives "
            f"({', '.join(sweep.objectives)}); name one as 'metric'. Known: {known}; "
            "hypervolume weighs accuracy and retention together."
        )
    if sweep.stopping_metric not in CURVE_METRICS:
        raise ConfigurationError(
            f"{where}: no trial reports {sweep.goals[0].name!r} while it runs; name a 'metric'. Known: {known}."
        )
