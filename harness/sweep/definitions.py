"""What a study was asked for, kept beside its rows, so that its front can be shown without the file.

The definition is no result: trials and their values come from rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from benchmarks.cells import CELL_FORMAT, SPLITTING_VERSION, TRAINING_VERSION, content_hash
from harness.plugins import Plugins
from harness.store import ResultStore
from harness.sweep.file import Sweep
from harness.sweep.loading import make_sweep
from harness.sweep.parameters import Parameter
from harness.sweep.space import Space
from harness.trust import Consent
from harness.yaml_source import Source
from splitters.errors import ConfigurationError, UnknownNameError

_FORMAT = 1
_FOLDER = "sweeps"
_ID_LENGTH = 12

_FREE = frozenset(
    {"name", "description", "plugins", "sampler", "trials", "concurrency", "budget", "race", "early_stopping"}
)
"""Keys that change how a study is searched, not what its values mean."""


@dataclass(frozen=True)
class Definition:
    """A sweep as it was asked for.

    Args:
        study: Names the study.
        written_at: When it was asked for.
        values: The sweep as a file would write it.
        folder: Where its plugins lay then; empty for none.
        versions: Of what determines results; see ``versions_of``.
        path: Its file, for messages.
        consent: What code may be imported that it names.
    """

    study: str
    written_at: datetime
    values: Mapping[str, Any]
    folder: str
    versions: Mapping[str, int]
    path: str
    consent: Consent

    @property
    def name(self) -> str:
        """The sweep's name."""
        return str(self.values["name"])

    @property
    def plugins(self) -> Plugins:
        """The plugins that it names; whether they may be imported is another question."""
        return Plugins(tuple(self.values.get("plugins", ())), self.folder)

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep; what it names is imported now.

        Raises:
            ConfigurationError: If it names what is not installed, or not trusted here.
        """
        plugins = self.consent.admit(self.plugins, self.values, where=self.path)
        return make_sweep(self.values, Source(self.path), folder=plugins.folder)


@dataclass(frozen=True)
class Continuation:
    """How a sweep stands to the studies that a store knows.

    Args:
        study: The study that it belongs to.
        before: The definition that the store has of the sweep's name, if it has one.
        changed: Why it is another study than that one; empty if it is the same, or the first.
        grown: What is more of in it.
    """

    study: str
    before: Definition | None
    changed: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()


def continue_study(sweep: Sweep, known: Sequence[Definition]) -> Continuation:
    """Says which study a sweep goes on with, or that it is a new one, and why.

    Args:
        sweep: The sweep.
        known: What the store knows, the newest last.
    """
    own = [definition for definition in known if definition.name == sweep.name]
    if not own:
        return Continuation(_study_id(sweep), None)
    before = own[-1]
    try:
        earlier_sweep = before.sweep
    except ConfigurationError as error:
        return Continuation(_study_id(sweep), before, (f"what it was cannot be read here: {error}",))
    changed, grown = compare(earlier_sweep, sweep)
    for name, version in versions_of(sweep).items():
        earlier = before.versions.get(name, version)
        if earlier != version:
            changed.append(f"{name}: version {earlier} before, {version} now, with other results")
    study = _study_id(sweep) if changed else before.study
    return Continuation(study, before, tuple(changed), tuple(grown))


def _study_id(sweep: Sweep) -> str:
    meant = {key: value for key, value in sweep.model_dump(mode="json").items() if key not in _FREE}
    return content_hash({"name": sweep.name, "versions": versions_of(sweep), **meant})[:_ID_LENGTH]


def versions_of(sweep: Sweep) -> dict[str, int]:
    """Returns the versions that make rows of one study comparable: the splitters' own, and those of all cells."""
    own = {space.splitter: space.base.version for space in sweep.spaces}
    return {"cells": CELL_FORMAT, "training": TRAINING_VERSION, "splitting": SPLITTING_VERSION, **own}


def compare(old: Sweep, new: Sweep) -> tuple[list[str], list[str]]:
    """Returns what has changed of a study's meaning, and what has grown, one line each."""
    changed: list[str] = []
    grown: list[str] = []
    for key in Sweep.model_fields:
        if key in _FREE or key in ("seeds", "models", "datasets", "splitters"):
            continue
        before, now = (sweep.model_dump(mode="json")[key] for sweep in (old, new))
        if before != now:
            changed.append(f"{key}: {_brief(before)} before, {_brief(now)} now")
    for key in ("seeds", "models", "datasets"):
        before, now = (sweep.model_dump(mode="json")[key] for sweep in (old, new))
        _compare_lists(key, before, now, changed, grown)
    _compare_spaces(old, new, changed, grown)
    if new.trials > old.trials:
        grown.append(f"trials: {old.trials} before, {new.trials} now")
    return changed, grown


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _compare_lists(key: str, before: list[Any], now: list[Any], changed: list[str], grown: list[str]) -> None:
    lost = [entry for entry in before if entry not in now]
    added = [entry for entry in now if entry not in before]
    if lost:
        changed.append(f"{key}: {_brief(lost)} is gone, and means are over {key}")
    elif added:
        grown.append(f"{key}: {_brief(added)} added")


def _compare_spaces(old: Sweep, new: Sweep, changed: list[str], grown: list[str]) -> None:
    before = {space.label: space for space in old.spaces}
    now = {space.label: space for space in new.spaces}
    for label in before:
        if label not in now:
            changed.append(f"splitters: {label} is gone")
    for label, space in now.items():
        if label not in before:
            grown.append(f"splitters: {label} added")
        else:
            _compare_space(before[label], space, changed, grown)


def _compare_space(old: Space, new: Space, changed: list[str], grown: list[str]) -> None:
    where = f"splitters.{new.label}"
    if old.splitter != new.splitter:
        changed.append(f"{where}: {old.splitter} before, {new.splitter} now")
        return
    before = {parameter.name: parameter for parameter in old.parameters}
    now = {parameter.name: parameter for parameter in new.parameters}
    fixed = set(old.base.settings) - set(before) - set(now)
    for name in sorted(fixed):
        if old.base.settings[name] != new.base.settings.get(name):
            changed.append(f"{where}.{name}: {_brief(old.base.settings[name])} before, "
                           f"{_brief(new.base.settings.get(name))} now")  # fmt: skip
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in now:
            changed.append(f"{where}.space.{name} is gone")
        elif name not in before:
            (grown if _holds(now[name], old.base.settings[name]) else changed).append(f"{where}.space.{name} added")
        elif before[name] != now[name]:
            is_wider = _covers(now[name], before[name])
            (grown if is_wider else changed).append(f"{where}.space.{name}: {'wider' if is_wider else 'another range'}")


def _holds(parameter: Parameter, setting: object) -> bool:
    try:
        parameter.read(setting)
    except ValueError:
        return False
    return True


def _covers(wide: Parameter, narrow: Parameter) -> bool:
    """Says whether a parameter takes every value that another one took."""
    if wide.kind != narrow.kind or wide.unit != narrow.unit or dict(wide.when) != dict(narrow.when):
        return False
    ends = narrow.choices if narrow.kind == "choice" else (narrow.low, narrow.high)
    return wide.step == narrow.step and all(_holds(wide, wide.setting(value)) for value in ends)


def write_definition(store: ResultStore, study: str, sweep: Sweep) -> None:
    """Keeps what a study is asked for; nothing is written if the newest definition says the same.

    Args:
        store: The study's store.
        study: Names the study.
        sweep: What is asked for.
    """
    values = sweep.model_dump(mode="json")
    own = [found for found in read_definitions(store) if found.study == study]
    if own and own[-1].values == values:
        return
    now = datetime.now(timezone.utc)
    content = {
        "format": _FORMAT,
        "study": study,
        "written_at": now.isoformat(),
        "folder": sweep.plugin_modules.folder,
        "versions": versions_of(sweep),
        "sweep": values,
    }
    name = f"{now:%Y%m%dT%H%M%S%f}-{study}.json"
    store.write_file(f"{_FOLDER}/{name}", json.dumps(content, indent=2, sort_keys=True).encode())


def read_definitions(store: ResultStore, *, consent: Consent | None = None) -> list[Definition]:
    """Returns all definitions that a store holds, the newest last.

    Args:
        store: The store.
        consent: What code may be imported that definitions name; by default, what was named on this machine before.

    Raises:
        ConfigurationError: If one is damaged or of a newer version.
    """
    found = _definitions(store.read_files(_FOLDER), consent or Consent())
    return sorted(found, key=lambda definition: definition.written_at)


def _definitions(files: Mapping[str, bytes], consent: Consent) -> Iterator[Definition]:
    for path, data in files.items():
        try:
            content = json.loads(data)
            number = int(content["format"])
            if number > _FORMAT:
                raise ConfigurationError(f"{path}: format {number} is newer than {_FORMAT}; upgrade splitbench.")
            values = content["sweep"]
            if not isinstance(values, dict) or not isinstance(values["name"], str):
                raise ValueError("it holds no sweep")
            yield Definition(
                study=content["study"],
                written_at=datetime.fromisoformat(content["written_at"]),
                values=values,
                folder=content["folder"],
                versions=content["versions"],
                path=path,
                consent=consent,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path} is no definition of a sweep: {error!r}. Remove it.") from error


def find_definition(known: Sequence[Definition], study: str | None, *, where: str) -> Definition:
    """Returns the definition of a study, or of the one that was asked for last.

    Args:
        known: All definitions, the newest last.
        study: The beginning of its name.
        where: The store, for messages.

    Raises:
        ConfigurationError: If there is none.
    """
    if not known:
        raise ConfigurationError(f"there is no sweep at {where}. Name the folder that 'splitbench sweep' wrote to.")
    found = [definition for definition in known if study is None or definition.study.startswith(study)]
    if not found:
        raise UnknownNameError("study", str(study), {definition.study for definition in known}, where="--study")
    return found[-1]
