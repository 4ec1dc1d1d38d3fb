"""Changes to a suite from the command line: ``--set training.epochs=3``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.config.yaml_source import read_yaml
from splitters.errors import ConfigurationError, UnknownNameError

_ENTRY_KEYS = {
    "scenario": ("name", "settings", "splitters", "models", "datasets", "first_seeds"),
    "models": ("name", "settings"),
    "splitters": ("name", "label", "settings", "overrides", "space"),
}
"""The keys of entries themselves; any other key of an entry is one of its settings."""


@dataclass(frozen=True)
class Change:
    """One ``KEY=VALUE``.

    Args:
        key: Dotted path of the value to change.
        text: The new value, as YAML.
    """

    key: str
    text: str

    @classmethod
    def read(cls, text: str, *, option: str) -> Change:
        """Split ``KEY=VALUE``.

        Raises:
            ConfigurationError: If there is no key or no ``=``.
        """
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"{option} {text}: expected KEY=VALUE, for example {_EXAMPLES[option]}.")
        return cls(key.strip(), value.strip())


_EXAMPLE_IN = {
    "models": ", for example models.simcnn.width=0.25",
    "splitters": ", for example splitters.scalesplitter.preset=fast",
}
_EXAMPLES = {
    "--set": "--set training.epochs=3",
    "--only": "--only splitter=gradsplitter",
    "--space": "--space gradsplitter.alpha=0.1:2.0",
}


@dataclass(frozen=True)
class Applied:
    """Changes that were made.

    Args:
        options: The changes as command-line options, for messages.
        settings: The settings of splitters that they give, by the index of the entry.
    """

    options: tuple[str, ...]
    settings: Mapping[int, frozenset[str]]


def apply_changes(values: dict[str, Any], changes: Iterable[str]) -> Applied:
    """Change a suite's plain values in place, before they are validated.

    Args:
        values: The suite as read from YAML.
        changes: ``KEY=VALUE`` texts. In a list, ``splitters.NAME.KEY`` addresses every entry of that name or label.

    Raises:
        ConfigurationError: If a change has another form, its value is not YAML, or it addresses no entry.
    """
    applied = []
    given = _Given()
    for text in changes:
        change = Change.read(text, option="--set")
        value, _ = read_yaml(change.text, name=f"--set {text}")
        _assign(values, change.key, value, given, option=f"--set {text}")
        applied.append(f"--set {text}")
    return Applied(tuple(applied), given.settings)


@dataclass
class _Given:
    """What the command line gives of the entries of ``splitters``, by their index: names of settings, and overrides."""

    settings: dict[int, frozenset[str]] = field(default_factory=dict)
    overrides: dict[int, frozenset[str]] = field(default_factory=dict)

    def note(self, index: int, entry: dict[str, Any], path: list[str], option: str) -> None:
        """Note a change of an entry.

        Raises:
            ConfigurationError: If it gives a setting both for all models and data sets and for some.
        """
        if path[0] == "settings":
            kept = {"overrides": entry.get("overrides")} if index in self.overrides else {}
            self.settings[index] = _settings_given(entry, path[1:], self.settings.get(index, frozenset()))
            entry.update(kept)
        if path[0] == "overrides":
            self.overrides[index] = _settings_overridden(entry["overrides"])
        for name in sorted(self.settings.get(index, frozenset()) & self.overrides.get(index, frozenset())):
            raise ConfigurationError(
                f"{option}: another --set gives {name!r} too. What --set gives itself holds on all models and data "
                "sets, whatever overrides say; give it in one of the two."
            )


def _assign(values: dict[str, Any], key: str, value: object, given: _Given, *, option: str) -> None:
    section, _, rest = key.partition(".")
    if not rest:
        values[section] = value
        if section == "splitters":
            given.settings.clear()
            given.overrides.clear()
    elif isinstance(values.get(section), list):
        indices, path = _entries(values, section, rest, option)
        for index in indices:
            entry = values[section][index]
            _assign_path(entry, path, value, option)
            if section == "splitters":
                given.note(index, entry, path, option)
    else:
        _assign_path(values, key.split("."), value, option)


def _settings_given(entry: dict[str, Any], path: list[str], before: frozenset[str]) -> frozenset[str]:
    """Return the settings of an entry that the command line gives, after a change of one of them or of all."""
    if path:
        return before | {path[0]}
    entry.pop("overrides", None)
    return frozenset(entry["settings"]) if isinstance(entry["settings"], dict) else frozenset()


def _settings_overridden(overrides: object) -> frozenset[str]:
    """Return the settings that overrides name; whatever else is wrong with these is reported where they are parsed."""
    entries = overrides if isinstance(overrides, list) else []
    settings = [entry.get("settings") for entry in entries if isinstance(entry, dict)]
    return frozenset(name for each in settings if isinstance(each, dict) for name in each)


def _entries(values: dict[str, Any], section: str, rest: str, option: str) -> tuple[list[int], list[str]]:
    """Return the indices of the entries of a list that a path addresses, and the path within them.

    Names may contain dots.
    """
    # Copies, because YAML aliases share one mapping, and changing one entry must not change the others.
    entries: list[Any] = [
        {"name": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else entry
        for entry in values[section]
    ]
    values[section] = entries
    named = [
        (name, index)
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and "name" in entry
        for name in {str(entry["name"]), str(entry.get("label") or entry["name"])}
    ]
    addressed = {name for name, _ in named if rest.startswith(f"{name}.")}
    if not addressed:
        raise _no_entry(section, rest, {name for name, _ in named}, option)
    longest = max(addressed, key=len)
    path = rest[len(longest) + 1 :].split(".")
    if section in _ENTRY_KEYS and path[0] not in _ENTRY_KEYS[section]:
        path = ["settings", *path]
    return [index for name, index in named if name == longest], path


def _no_entry(section: str, rest: str, names: set[str], option: str) -> ConfigurationError:
    """Return the error that a path addresses no entry of a list, or an entry and nothing in it."""
    if not names:
        return ConfigurationError(
            f"{option}: the entries of {section!r} have no names; give the whole list: --set '{section}=[...]'."
        )
    if rest in names:
        return ConfigurationError(
            f"{option}: it names an entry of {section!r}, but none of its keys. Set each key by itself: "
            f"--set '{section}.{rest}.KEY=VALUE'{_EXAMPLE_IN.get(section, '')}."
        )
    is_index = rest.partition(".")[0].isdecimal()
    remedy = f"Entries are addressed by name: {section}.NAME.KEY=VALUE." if is_index else ""
    return UnknownNameError(f"entry of {section}", rest.rpartition(".")[0] or rest, names, where=option, remedy=remedy)


def _assign_path(values: dict[str, Any], path: list[str], value: object, option: str) -> None:
    current = values
    for part in path[:-1]:
        inner = current.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{option}: {part!r} holds {inner!r}, which has no keys.")
        current[part] = dict(inner)
        current = current[part]
    current[path[-1]] = value
