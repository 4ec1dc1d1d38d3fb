"""What a study was asked for, stored beside its rows: shown by ``front`` without the file, compared by the next start.

These are no results: trials and their values come from rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from benchmarks.cells import CELL_FORMAT, SPLITTING_VERSION, TRAINING_VERSION, content_hash
from harness.config.plugins import Plugins
from harness.config.trust import Consent, require_found
from harness.config.yaml_source import Source
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.load import make_sweep
from harness.sweep.definition.parameter import Parameter
from harness.sweep.definition.space import Space
from splitters.errors import ConfigurationError, UnknownNameError

_FORMAT = 1
_FOLDER = "sweeps"
_ID_LENGTH = 12

_SEARCH_KEYS = frozenset(
    {"name", "description", "plugins", "sampler", "trials", "concurrency", "budget", "race", "early_stopping"}
)
"""Keys that change how a study is searched, not what its values mean."""

_LISTS = ("seeds", "models", "datasets")


@dataclass(frozen=True)
class StudyRecord:
    """A study as it was asked for at one start: the sweep as plain values, and the versions of ``versions_of``."""

    study: str
    written_at: datetime
    values: Mapping[str, Any]
    folder: str
    versions: Mapping[str, int]
    path: str
    consent: Consent

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep; its plugins are imported.

        Raises:
            ConfigurationError: If it names code that is not installed, or not trusted here.
        """
        named = Plugins(tuple(self.values.get("plugins", ())), self.folder)
        plugins = self.consent.admit(named, self.values, where=self.path)
        require_found(plugins, self.consent, where=self.path)
        return make_sweep(self.values, Source(self.path), folder=plugins.folder)


@dataclass(frozen=True)
class Continuation:
    """Which study a sweep belongs to, and how it differs from the last one of its name.

    Args:
        study: The study's id.
        began_at: When the study was asked for first.
        earlier: The records of the sweep's name, the newest last.
        changed: Why it is a new study; empty if it is the same one, or the first.
        grown: What was added to it.
    """

    study: str
    began_at: datetime
    earlier: Sequence[StudyRecord] = ()
    changed: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()


def continue_study(sweep: Sweep, known: Sequence[StudyRecord]) -> Continuation:
    """Return the study that a sweep continues, or a new one, given the records of the store, the newest last."""
    records = [record for record in known if record.values["name"] == sweep.name]
    changed: list[str] = []
    grown: list[str] = []
    if records:
        last = records[-1]
        try:
            changed, grown = compare(last.sweep, sweep)
        except ConfigurationError as error:
            changed = [f"what it was cannot be read here: {error}"]
        for name, version in versions_of(sweep).items():
            before = last.versions.get(name, version)
            if before != version:
                changed.append(f"{name}: version {before} before, {version} now, with other results")
    study = records[-1].study if records and not changed else _study_id(sweep)
    return Continuation(study, began_at(study, known), records, tuple(changed), tuple(grown))


def began_at(study: str, known: Sequence[StudyRecord]) -> datetime:
    """Return when a study was asked for first; now, if it is new."""
    return min((record.written_at for record in known if record.study == study), default=datetime.now(timezone.utc))


def _study_id(sweep: Sweep) -> str:
    meaning = {key: value for key, value in sweep.model_dump(mode="json").items() if key not in _SEARCH_KEYS}
    return content_hash({"name": sweep.name, "versions": versions_of(sweep), **meaning})[:_ID_LENGTH]


def versions_of(sweep: Sweep) -> dict[str, int]:
    """Return the versions on which results depend: of the splitters, and of what all cells share."""
    splitters = {space.splitter: space.base.version for space in sweep.spaces}
    return {"cells": CELL_FORMAT, "training": TRAINING_VERSION, "splitting": SPLITTING_VERSION, **splitters}


def compare(old: Sweep, new: Sweep) -> tuple[list[str], list[str]]:
    """Return what has changed in a study's meaning, and what was added to it, one line each."""
    changed: list[str] = []
    grown: list[str] = []
    before, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    for key in Sweep.model_fields:
        if key in _LISTS:
            lost = [entry for entry in before[key] if entry not in now[key]]
            added = [entry for entry in now[key] if entry not in before[key]]
            if lost:
                changed.append(f"{key}: {_brief(lost)} is gone, and means are over {key}")
            elif added:
                grown.append(f"{key}: {_brief(added)} added")
        elif key not in _SEARCH_KEYS and key != "splitters" and before[key] != now[key]:
            changed.append(f"{key}: {_brief(before[key])} before, {_brief(now[key])} now")
    old_spaces = {space.label: space for space in old.spaces}
    new_spaces = {space.label: space for space in new.spaces}
    changed += [f"splitters: {label} is gone" for label in old_spaces if label not in new_spaces]
    for label, space in new_spaces.items():
        if label in old_spaces:
            _compare_spaces(old_spaces[label], space, changed, grown)
        else:
            grown.append(f"splitters: {label} added")
    if new.trials > old.trials:
        grown.append(f"trials: {old.trials} before, {new.trials} now")
    return changed, grown


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _compare_spaces(old: Space, new: Space, changed: list[str], grown: list[str]) -> None:
    where = f"splitters.{new.label}"
    if old.splitter != new.splitter:
        changed.append(f"{where}: {old.splitter} before, {new.splitter} now")
        return
    before = {parameter.name: parameter for parameter in old.parameters}
    now = {parameter.name: parameter for parameter in new.parameters}
    for name in sorted(set(old.base_settings) - set(before) - set(now)):
        values = old.base_settings[name], new.base_settings.get(name)
        if values[0] != values[1]:
            changed.append(f"{where}.{name}: {_brief(values[0])} before, {_brief(values[1])} now")
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in now:
            changed.append(f"{where}.space.{name} is gone")
        elif name not in before:
            (grown if _contains(now[name], old.base_settings[name]) else changed).append(f"{where}.space.{name} added")
        elif before[name] != now[name]:
            is_wider = _covers(now[name], before[name])
            (grown if is_wider else changed).append(f"{where}.space.{name}: {'wider' if is_wider else 'another range'}")


def _contains(parameter: Parameter, setting: object) -> bool:
    try:
        parameter.read(setting)
    except ValueError:
        return False
    return True


def _covers(wide: Parameter, narrow: Parameter) -> bool:
    """Return whether a parameter can take every value of another one."""
    if wide.kind != narrow.kind or wide.unit != narrow.unit or dict(wide.when) != dict(narrow.when):
        return False
    ends = narrow.choices if narrow.kind == "choice" else (narrow.low, narrow.high)
    return wide.step == narrow.step and all(_contains(wide, wide.setting(value)) for value in ends)


def write_study(store: ResultStore, sweep: Sweep, continuation: Continuation) -> None:
    """Store what a study is asked for, unless its newest record says the same."""
    values, study = sweep.model_dump(mode="json"), continuation.study
    records = [record for record in continuation.earlier if record.study == study]
    if records and records[-1].values == values:
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
    path = f"{_FOLDER}/{now:%Y%m%dT%H%M%S%f}-{study}.json"
    store.write_file(path, json.dumps(content, indent=2, sort_keys=True).encode())


def read_studies(store: ResultStore, *, consent: Consent | None = None) -> list[StudyRecord]:
    """Return all records of a store, the newest last.

    Args:
        store: The store.
        consent: The code that may be imported if they name it; by default, what was named on this machine before.

    Raises:
        ConfigurationError: If one is damaged, or of a newer version.
    """
    files = {path: data for path, data in store.read_files(_FOLDER).items() if path.endswith(".json")}
    records = [_parsed(path, data, consent or Consent()) for path, data in files.items()]
    return sorted(records, key=lambda record: record.written_at)


def _parsed(path: str, data: bytes, consent: Consent) -> StudyRecord:
    try:
        content = json.loads(data)
        if int(content["format"]) > _FORMAT:
            raise ConfigurationError(f"{path}: format {content['format']} is newer than {_FORMAT}; upgrade splitbench.")
        # Earlier versions had a protocol, which could only be this one.
        values = {key: value for key, value in dict(content["sweep"]).items() if key != "protocol"}
        return StudyRecord(
            study=str(content["study"]),
            written_at=datetime.fromisoformat(content["written_at"]),
            values={**values, "name": str(values["name"])},
            folder=content["folder"],
            versions=content["versions"],
            path=path,
            consent=consent,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is no definition of a sweep: {error!r}. Wait if it is being copied; otherwise, remove it."
        ) from error


def find_study(known: Sequence[StudyRecord], study: str | None, *, where: str) -> StudyRecord:
    """Return the newest record of a study.

    Args:
        known: All records, the newest last.
        study: The beginning of the study's id; None for the one that was asked for last.
        where: The store, for messages.

    Raises:
        ConfigurationError: If there is none.
    """
    if not known:
        raise ConfigurationError(f"there is no sweep at {where}. Name the folder that 'splitbench sweep' wrote to.")
    records = [record for record in known if study is None or record.study.startswith(study)]
    if not records:
        raise UnknownNameError("study", str(study), {record.study for record in known}, where="--study")
    return records[-1]
