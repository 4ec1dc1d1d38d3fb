"""What determines a row's result apart from its seed, and names that tell such configurations apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import content_hash, parse_config
from benchmarks.rows.row import Metrics, Row, State
from splitters.errors import UnknownNameError

_MAX_SETTINGS_IN_NAME = 3
"""Names that would need more settings than this show a hash instead."""

_CODE_LENGTH = 12
"""Characters of a code fingerprint that tell two fingerprints apart on screen."""


@dataclass(frozen=True)
class Configuration:
    """A cell's configuration without its seed, as flat dictionaries with dotted keys.

    Args:
        splitter: The splitter's name, settings and version.
        rest: Everything else: what entries of one section have in common.
    """

    splitter: dict[str, Any]
    rest: dict[str, Any]

    @classmethod
    def of(cls, row: Row) -> Configuration:
        """Return a row's configuration."""
        config = parse_config(row.config)
        config.pop("seed", None)
        splitter = config.pop("splitter", {})
        settings = {**_flattened(splitter.get("settings", {})), "version": splitter.get("version")}
        if splitter.get("code"):
            settings["code"] = splitter["code"][:_CODE_LENGTH]
        return cls({"name": splitter.get("name"), **settings}, _flattened(config))

    @property
    def section_key(self) -> str:
        """Equal for rows of one section."""
        return content_hash(self.rest)

    @property
    def splitter_key(self) -> str:
        """Equal for rows of one entry of a section."""
        return content_hash(self.splitter)


def configurations(rows: Sequence[Row]) -> dict[str, Configuration]:
    """Return the configuration of each cell, by id.

    A suite does not fix the images behind a data set's name, nor the kind of device that ``auto`` picks. Where rows
    that are otherwise alike differ in these, they become part of the configuration. Failed rows, which know neither,
    go with the first such group.
    """
    by_cell = {row.cell_id: Configuration.of(row) for row in rows}
    for members in grouped(rows, lambda row: by_cell[row.cell_id].section_key).values():
        measured_with = {row.cell_id: _images_and_device(row) for row in members if row.state is State.OK}
        kinds = list(dict.fromkeys(measured_with.values()))
        for row in members if len(kinds) > 1 else ():
            images, device = measured_with.get(row.cell_id, kinds[0])
            by_cell[row.cell_id].rest.update({"images": images, "ran on": device})
    return by_cell


def row_values(row: Row) -> dict[str, Any]:
    """Return what identifies a row and its origin, by column, and its cell's settings, by dotted key.

    Keys are ``splitter.alpha``, ``model.width``, ``dataset.train_images``, ``training.epochs``, ``scenario.fusion``.
    """
    columns = {name: getattr(row, name) for name in Row.model_fields if name not in Metrics.model_fields}
    for name in ("config", "traceback"):
        del columns[name]
    columns["state"] = row.state.value
    return {**columns, **settings_of(row.config)}


def settings_of(config: str) -> dict[str, Any]:
    """Return the settings of a row's cell, by dotted key, from its column ``config``."""
    values = parse_config(config)
    scenario = values.pop("scenario_settings", None) or {}
    flat = _flattened({**values, "scenario": scenario})
    names = {key: setting_name(key) for key in flat}
    hidden = (".name", ".settings", ".code", ".version")
    return {name: flat[key] for key, name in names.items() if "." in name and not name.endswith(hidden)}


def setting_name(key: str) -> str:
    """Return the key of a setting as users write it."""
    return key.replace(".settings.", ".")


def unknown_key(key: str, known: Collection[str], *, where: str) -> UnknownNameError:
    """Return the error about a key that no row has, with the columns, and the settings that resemble it."""
    section = key.partition(".")[0]
    choices = [name for name in known if "." not in name or (name.startswith(f"{section}.") and section != key)]
    return UnknownNameError("key of rows", key, choices, where=where)


def grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Return rows by key, both in the order of first appearance."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def distinct_names(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names; to those that occur several times, the settings in which they differ are added.

    Args:
        names: One name per configuration.
        settings: The settings of each, flat.
    """
    return [
        _distinct_name(name, own, [other for alike, other in zip(names, settings, strict=True) if alike == name])
        for name, own in zip(names, settings, strict=True)
    ]


def _distinct_name(name: str, own: Mapping[str, Any], namesakes: Sequence[Mapping[str, Any]]) -> str:
    keys = {key for settings in namesakes for key in settings} if len(namesakes) > 1 else set()
    differing = sorted(key for key in keys if len({json.dumps(settings.get(key)) for settings in namesakes}) > 1)
    given = [key for key in differing if own.get(key) is not None]
    non_empty = [key for key in given if own[key] not in ([], "")] or given
    suffix = ", ".join(f"{key.rpartition('.')[2]}={own[key]}" for key in non_empty)
    if len(differing) > _MAX_SETTINGS_IN_NAME or (differing and not suffix):
        suffix = f"#{content_hash(own)[:6]}"
    return f"{name} ({suffix})" if suffix else name


def _images_and_device(row: Row) -> tuple[str, str]:
    return (row.dataset_hash or "")[:8], "cpu" if row.cuda_version is None else "gpu"


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flattened(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
