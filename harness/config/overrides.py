"""Changes to a suite from the command line: ``--set training.epochs=3``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


_EXAMPLES = {
    "--set": "--set training.epochs=3",
    "--only": "--only splitter=gradsplitter",
    "--space": "--space gradsplitter.alpha=0.1:2.0",
}


def apply_changes(values: dict[str, Any], changes: Iterable[str]) -> tuple[str, ...]:
    """Change a suite's plain values in place, before they are validated.

    Args:
        values: The suite as read from YAML.
        changes: ``KEY=VALUE`` texts. In a list, ``splitters.NAME.KEY`` addresses every entry of that name or label.

    Returns:
        The changes as command-line options, for messages.

    Raises:
        ConfigurationError: If a change has another form, its value is not YAML, or it addresses no entry.
    """
    applied = []
    for text in changes:
        change = Change.read(text, option="--set")
        value, _ = read_yaml(change.text, name=f"--set {text}")
        _assign(values, change.key, value, option=f"--set {text}")
        applied.append(f"--set {text}")
    return tuple(applied)


def _assign(values: dict[str, Any], key: str, value: object, *, option: str) -> None:
    section, _, rest = key.partition(".")
    if not rest:
        values[section] = value
    elif isinstance(values.get(section), list):
        for entry, inner in _entries(values, section, rest, option):
            _assign_path(entry, inner, value, option)
    else:
        _assign_path(values, key.split("."), value, option)


def _entries(values: dict[str, Any], section: str, rest: str, option: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the entries of a list that a path addresses, and the path within them; names may contain dots."""
    # Copies, because YAML aliases share one mapping, and changing one entry must not change the others.
    entries: list[Any] = [
        {"name": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else entry
        for entry in values[section]
    ]
    values[section] = entries
    named = [
        (name, entry)
        for entry in entries
        if isinstance(entry, dict)
        for name in {str(entry.get("name")), str(entry.get("label") or entry.get("name"))}
    ]
    addressed = {name for name, _ in named if rest.startswith(f"{name}.")}
    if not addressed:
        raise UnknownNameError(
            f"entry of {section}", rest.rpartition(".")[0] or rest, {name for name, _ in named}, where=option
        )
    longest = max(addressed, key=len)
    path = rest[len(longest) + 1 :].split(".")
    if section in _ENTRY_KEYS and path[0] not in _ENTRY_KEYS[section]:
        path = ["settings", *path]
    return [(entry, path) for name, entry in named if name == longest]


def _assign_path(values: dict[str, Any], path: list[str], value: object, option: str) -> None:
    current = values
    for part in path[:-1]:
        inner = current.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{option}: {part!r} holds {inner!r}, which has no keys.")
        current[part] = dict(inner)
        current = current[part]
    current[path[-1]] = value
