"""A sweep without a file of its own: ``splitbench sweep --suite FILE --space keep=0.3:1.0``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.cells import ModelSpec
from harness.config.expand import expand, plugins_of, settings_of_preset
from harness.config.overrides import Change, apply_changes
from harness.config.suite import ScenarioEntry, SplitterEntry, Suite, load_suite
from harness.config.yaml_source import read_yaml
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.load import make_sweep
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.methods.protocol import SPLITTERS

_OF_ITS_OWN = {"name", "description", "scenario", "splitters"}
_SCENARIO = Sweep.model_fields["scenario"].default
_OBJECTIVES = {"accuracy_loss": "min", "kernel_retention": "min"}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER}):(?P<high>{_NUMBER})(?P<log>:log)?(?:\s+(?P<unit>steps|epochs))?")


def sweep_of_suite(suite: str | Path, spaces: Sequence[str], *, changes: Sequence[str] = ()) -> Sweep:
    """Return the sweep of a suite's models, data sets and seeds over some settings of its splitters.

    Its objectives are ``accuracy_loss`` and ``kernel_retention``, both to be small. Of the suite's scenarios it is
    ``modularization``; the time limit of cells is not taken over, since ``budget`` limits trials.

    Args:
        suite: A name in ``suite_names()``, or a YAML file.
        spaces: ``SETTING=VALUES`` for every splitter of the suite that has the setting, or ``SPLITTER.SETTING=VALUES``.
            Values are a range ``LOW:HIGH``, with ``:log`` for a logarithmic one and ``steps`` or ``epochs`` for a
            length, or what a sweep file holds there, as YAML.
        changes: ``KEY=VALUE`` changes as of a sweep file.

    Raises:
        ConfigurationError: If there is no such suite, splitter or setting, or no space, a value is not allowed, or the
            suite does not measure ``modularization``, leaves out cells that the sweep would run, or sets itself what
            searched presets set.
    """
    found = load_suite(suite)
    _check_scenarios(found)
    plugins_of(found).load(where=f"{found.source.where('plugins')}: plugins")
    searched: dict[str, dict[str, Any]] = {}
    named: set[str] = set()
    for text in spaces:
        change = Change.read(text, option="--space")
        if change.key in named:
            raise ConfigurationError(f"--space {text}: another --space gives {change.key} too; give it once.")
        named.add(change.key)
        owner, _, setting = change.key.rpartition(".")
        for entry in _entries_with(found, owner, setting, where=f"--space {text}"):
            searched.setdefault(_title(entry), {})[setting] = _values(change.text, where=f"--space {text}")
    if not searched:
        raise ConfigurationError("--suite: say what is searched, for example --space gradsplitter.alpha=0.1:2.0.")
    shared = set(Sweep.model_fields) & set(Suite.model_fields) - _OF_ITS_OWN
    values: dict[str, Any] = {
        "name": f"{found.name}-sweep",
        **found.model_dump(mode="json", include=shared, exclude_defaults=True),
        "splitters": [_searched(entry, space) for entry in found.splitters if (space := searched.get(_title(entry)))],
        "objectives": _OBJECTIVES,
    }
    applied = apply_changes(values, changes)
    source = replace(found.source, lines={}, spellings={}, changes=applied.options, given=applied.settings)
    sweep = make_sweep(values, source)
    _check_presets(found, sweep)
    _check_left_out(found, sweep)
    return sweep


def _check_presets(suite: Suite, sweep: Sweep) -> None:
    """Refuse to search presets whose values the suite's own settings would override in every trial."""
    for index, (entry, space) in enumerate(zip(sweep.splitters, sweep.spaces, strict=True)):
        presets = [choice for searched in space.parameters if searched.name == "preset" for choice in searched.choices]
        where = f"--space {entry.title}.preset"
        replaced = {key for preset in presets for key in settings_of_preset(entry.name, preset, where=where)}
        written = replaced & entry.settings.keys() - sweep.source.given.get(index, frozenset()) - entry.space.keys()
        if written:
            raise ConfigurationError(
                f"{where}: {suite.name} itself sets {', '.join(sorted(written))} of {entry.title}, which overrides the "
                f"presets. Leave the suite's settings out with --set 'splitters.{entry.title}.settings={{}}', or write "
                "a sweep file."
            )


def _check_left_out(suite: Suite, sweep: Sweep) -> None:
    """Refuse a sweep over cells that the suite leaves out, since a trial measures a splitter on every model."""
    scenario = ScenarioEntry(name=_SCENARIO)
    whole = _named_cells(suite.model_copy(update={"scenario": (scenario,), "only": (), "exclude": ()}))
    left_out = whole - _named_cells(suite)
    titles = [entry.title for entry in sweep.splitters]
    datasets = [dataset.name for dataset in sweep.datasets]
    missing = [
        (title, model.name, dataset, seed)
        for title, model, dataset, seed in product(titles, sweep.models, datasets, sweep.seeds)
        if (title, model.name, dataset, seed) in left_out
    ]
    if missing:
        title, model, dataset, seed = missing[0]
        swept = [entry for entry in suite.models if entry.name not in {name for _, name, _, _ in missing}]
        raise ConfigurationError(
            f"--suite {suite.name}: it leaves out {title} on {model} and {dataset} with seed {seed}, and a trial "
            f"measures a splitter on every model. {_choosing(swept)}"
        )


def _choosing(models: Sequence[ModelSpec]) -> str:
    """Return how to sweep on some of a suite's models, with the suite's settings for them."""
    if not models:
        return "Write a sweep file."
    entries = [entry.model_dump(mode="json", exclude_defaults=True) for entry in models]
    change = shlex.quote(f"models={json.dumps(entries, ensure_ascii=False)}")
    return f"Choose the models on which it leaves out nothing, with --set {change}, or write a sweep file."


def _named_cells(suite: Suite) -> set[tuple[str, str, str, int]]:
    return {
        (item.splitter, item.cell.model.name, item.cell.dataset.name, item.cell.seed)
        for item in expand(suite)
        if item.cell.scenario == _SCENARIO
    }


def _check_scenarios(suite: Suite) -> None:
    scenarios = [entry.name for entry in suite.scenario]
    if _SCENARIO not in scenarios:
        raise ConfigurationError(
            f"--suite {suite.name}: its scenarios are {', '.join(scenarios)}, and a sweep without a file needs "
            "modularization."
        )


def _title(entry: SplitterEntry) -> str:
    return entry.label or entry.name


def _entries_with(suite: Suite, owner: str, setting: str, *, where: str) -> list[SplitterEntry]:
    """Return the splitters that a space is of."""
    titled = [entry for entry in suite.splitters if _title(entry) == owner]
    named = titled or [entry for entry in suite.splitters if owner in ("", entry.name)]
    if not named:
        raise UnknownNameError(
            "splitter of the suite", owner, [_title(entry) for entry in suite.splitters], where=where
        )
    fields = {_title(entry): SPLITTERS.get(entry.name).Settings.model_fields for entry in named}
    entries = [entry for entry in named if setting in fields[_title(entry)]]
    if not entries:
        known = sorted({field for names in fields.values() for field in names})
        raise UnknownNameError("setting", setting, known, where=where)
    return entries


def _searched(entry: SplitterEntry, space: Mapping[str, Any]) -> dict[str, Any]:
    if entry.overrides:
        raise ConfigurationError(
            f"splitter {_title(entry)!r} has 'overrides', which a sweep does not know; write a sweep file."
        )
    values = entry.model_dump(mode="json", include={"name", "label", "settings"}, exclude_none=True)
    return {**values, "space": dict(space)}


def _values(text: str, *, where: str) -> object:
    """Return a parameter as a sweep file holds it."""
    match = _RANGE.fullmatch(text)
    if match is None:
        values, _ = read_yaml(text, name=where)
        if not isinstance(values, list | Mapping):
            raise ConfigurationError(
                f"{where}: expected a range such as 0.1:2.0, 1:8 or 0.01:0.1:log, or a list such as [16, 32]."
            )
        return values
    ends = [match["low"], match["high"]]
    is_whole = all(re.fullmatch(r"[-+]?\d+", end) for end in ends)
    values = {"int": [int(end) for end in ends]} if is_whole else {"float": [float(end) for end in ends]}
    return {**values, **({"log": True} if match["log"] else {}), **({"unit": match["unit"]} if match["unit"] else {})}
