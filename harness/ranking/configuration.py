"""What determines a row's result apart from its seed, and names that tell such configurations apart."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int
from numpy.typing import NDArray

from benchmarks.cells import content_hash, parse_config
from benchmarks.rows.arrow_arrays import coded, to_numpy
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Metrics, Row, State
from splitters.errors import UnknownNameError

_MAX_SETTINGS_IN_NAME = 3
"""Names that would need more settings than this show a hash instead."""

_MAX_DIGITS = 8
"""Numbers in names that would be longer are rounded."""

_CODE_LENGTH = 12
"""Characters of a code fingerprint that tell two fingerprints apart on screen."""

_FINGERPRINT = re.compile(r"\b[0-9a-f]{64}\b")

Members = Int[NDArray[np.int64], " member"]
"""Indices of the rows of a group."""

_SEED, _DIGITS = '"seed":', "0123456789"

IDENTIFYING_COLUMNS = tuple(
    name for name in Row.model_fields if name not in {*Metrics.model_fields, "config", "traceback"}
)
"""Columns that say what a row is of and where it comes from."""

ABSENT = object()
"""Stands for a setting that a cell does not have."""


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
    def parse(cls, text: str) -> Configuration:
        """Return the configuration in a row's column ``config``."""
        config = parse_config(text)
        config.pop("seed", None)
        splitter = config.pop("splitter", {})
        settings = {**_flattened(splitter.get("settings", {})), "version": splitter.get("version")}
        if splitter.get("code"):
            settings["code"] = splitter["code"][:_CODE_LENGTH]
        return cls({"name": splitter.get("name"), **settings}, _flattened(config))

    @cached_property
    def section_key(self) -> str:
        """Equal for rows of one section."""
        return content_hash(self.rest)

    @cached_property
    def splitter_key(self) -> str:
        """Equal for rows of one entry of a section."""
        return content_hash(self.splitter)


@dataclass(frozen=True, eq=False)
class RowConfigurations:
    """The configurations of rows.

    Args:
        of_rows: The index of each row's configuration.
        distinct: The configurations, each once.
    """

    of_rows: Int[NDArray[np.int64], " row"]
    distinct: Sequence[Configuration]

    @property
    def used(self) -> list[Configuration]:
        """The configurations that rows have, in the order of their first appearance."""
        return [self.distinct[index] for index in dict.fromkeys(self.of_rows.tolist())]

    def take(self, members: Members) -> RowConfigurations:
        """Return the configurations of some of the rows."""
        return RowConfigurations(self.of_rows[members], self.distinct)

    @cached_property
    def sections(self) -> Int[NDArray[np.int64], " row"]:
        """A number for each row, equal for rows of one section."""
        return self._numbers([configuration.section_key for configuration in self.distinct])

    @cached_property
    def splitters(self) -> Int[NDArray[np.int64], " row"]:
        """A number for each row, equal for rows of one section's entry."""
        return self._numbers([configuration.splitter_key for configuration in self.distinct])

    def _numbers(self, keys: Sequence[str]) -> Int[NDArray[np.int64], " row"]:
        known = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return np.array([known[key] for key in keys], np.int64)[self.of_rows]


def configurations(rows: Rows) -> RowConfigurations:
    """Return the configuration of each row.

    A suite does not fix the images behind a data set's name, nor the kind of device that ``auto`` picks. Where rows
    that are otherwise alike differ in these, they become part of the configuration. Failed rows, which know neither,
    go with the first such group.
    """
    of_rows, texts = distinct_configs(rows)
    plain = RowConfigurations(of_rows, [Configuration.parse(text) for text in texts])
    succeeded = rows.equal("state", State.OK.value)
    kinds, images_and_devices = _images_and_devices(rows)
    parts = [part for part in groups_of(plain.sections) if len(np.unique(kinds[part[succeeded[part]]])) > 1]
    if not parts:
        return plain
    distinct, of_rows = list(plain.distinct), of_rows.copy()
    for part in parts:
        first = kinds[part[succeeded[part]][0]]
        known: dict[tuple[int, int], int] = {}
        for row in part.tolist():
            key = (int(of_rows[row]), int(kinds[row] if succeeded[row] else first))
            if key not in known:
                known[key] = len(distinct)
                configuration = distinct[key[0]]
                more = dict(zip(("images", "ran on"), images_and_devices[key[1]], strict=True))
                distinct.append(Configuration(configuration.splitter, {**configuration.rest, **more}))
            of_rows[row] = known[key]
    return RowConfigurations(of_rows, distinct)


def _images_and_devices(rows: Rows) -> tuple[Int[NDArray[np.int64], " row"], list[tuple[str, str]]]:
    """Return the index of each row's images and kind of device in a list of both."""
    of_hash, hashes = coded(rows.arrow("dataset_hash"))
    images = [(dataset_hash or "")[:8] for dataset_hash in hashes]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(images))}
    is_gpu = to_numpy(pc.is_valid(rows.arrow("cuda_version")))
    of_images = np.array([numbers[name] for name in images], np.int64)[of_hash]
    return 2 * of_images + is_gpu, [(name, device) for name in numbers for device in ("cpu", "gpu")]


def distinct_configs(rows: Rows) -> tuple[Int[NDArray[np.int64], " row"], list[str]]:
    """Return the index of each row's configuration, whatever its seed, and a text of each configuration.

    Texts are compared without parsing them, which would take longer than everything else that is done with rows.
    """
    return rows.encoded("config", _encoded_configs)


def _encoded_configs(configs: Iterable[str]) -> tuple[list[int], list[str]]:
    known: dict[tuple[str, str], int | None] = {}
    texts: dict[str, int] = {}
    numbers = []
    for text in configs:
        before, _, after = text.rpartition(_SEED)
        key = (before, after.lstrip(_DIGITS))
        if key not in known:
            known[key] = len(texts) if _is_of_cell(*key) else None
        number = known[key]
        # A setting may be called the same: such texts are compared whole.
        numbers.append(texts.setdefault(text, len(texts)) if number is None or number == len(texts) else number)
    return numbers, list(texts)


def _is_of_cell(before: str, after: str) -> bool:
    """Return whether the seed between two parts of a config is the cell's."""
    return json.loads(f"{before}{_SEED}-1{after}").get("seed") == -1 if before else False


def groups_of(numbers: Int[NDArray[np.int64], " row"]) -> list[Members]:
    """Return the indices of equal numbers, in the order of their first appearance."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return sorted(np.split(order, ends), key=lambda members: int(members[0])) if len(order) else []


class KeyedRows:
    """What identifies rows and their origin, by column, and their cells' settings, by dotted key.

    Keys of settings are ``splitter.alpha``, ``model.width``, ``dataset.train_images``, ``training.epochs``,
    ``scenario.fusion``.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._of_rows, texts = distinct_configs(rows)
        self._settings = [settings_of(text) for text in texts]
        self.known = {*IDENTIFYING_COLUMNS, *(key for settings in self._settings for key in settings)}

    def values(self, key: str) -> list[Any]:
        """Return each row's value; ``ABSENT`` where its cell has no such setting."""
        if key in IDENTIFYING_COLUMNS:
            return self._rows.values(key)
        of_configs = [settings.get(key, ABSENT) for settings in self._settings]
        return [of_configs[index] for index in self._of_rows.tolist()]


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


def distinct_names(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names; to those that occur several times, the settings in which they differ are added.

    Long numbers are rounded where the names stay distinct.

    Args:
        names: One name per configuration.
        settings: The settings of each, flat.
    """
    namesakes: dict[str, list[Mapping[str, Any]]] = {}
    for name, own in zip(names, settings, strict=True):
        namesakes.setdefault(name, []).append(own)
    differing = {name: _differing_keys(alike) for name, alike in namesakes.items()}
    full, brief = (
        [_distinct_name(name, own, differing[name], text) for name, own in zip(names, settings, strict=True)]
        for text in (_full, _brief)
    )
    n_alike = Counter(brief)
    return [short if n_alike[short] == 1 else long for short, long in zip(brief, full, strict=True)]


def _differing_keys(namesakes: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = {key for settings in namesakes for key in settings} if len(namesakes) > 1 else set()
    return sorted(key for key in keys if len({json.dumps(settings.get(key)) for settings in namesakes}) > 1)


def _full(value: object) -> str:
    return _FINGERPRINT.sub(lambda found: found[0][:_CODE_LENGTH], str(value))


def _brief(value: object) -> str:
    text = _full(value)
    return f"{value:.4g}" if isinstance(value, float) and len(text) > _MAX_DIGITS else text


def _distinct_name(name: str, own: Mapping[str, Any], differing: Sequence[str], text: Callable[[object], str]) -> str:
    given = [key for key in differing if own.get(key) is not None]
    non_empty = [key for key in given if own[key] not in ([], "")] or given
    suffix = ", ".join(f"{key.rpartition('.')[2]}={text(own[key])}" for key in non_empty)
    if len(differing) > _MAX_SETTINGS_IN_NAME or (differing and not suffix):
        suffix = f"#{content_hash(own)[:6]}"
    return f"{name} ({suffix})" if suffix else name


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flattened(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
