"""YAML as people write it: safe, without duplicate keys, and with the line of every entry for messages."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from splitters.errors import ConfigurationError

Path = tuple[str | int, ...]
"""The way to an entry: keys of mappings and indices of lists."""

_MAX_DEPTH = 20
_MAX_ENTRIES = 100_000
"""Anchors and aliases can make a few lines mean billions of entries."""


@dataclass(frozen=True)
class Source:
    """Where values come from, so that a message can say it.

    Args:
        name: The file, or what stands in its place.
        lines: The line of each entry by its path, counted from 1.
        path: The file's absolute path; empty where there is no file of the user's.
        changes: What the command line changed in the values, as options.
    """

    name: str
    lines: dict[Path, int] = field(default_factory=dict)
    path: str = ""
    changes: tuple[str, ...] = ()

    def where(self, *path: str | int) -> str:
        """Returns the file, the line of an entry or of what holds it, and the changes that touch it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), ())
        line = f", line {self.lines[known]}" if known else ""
        touching = [change for change in self.changes if not path or change.startswith(f"--set {path[0]}")]
        return f"{self.name}{line}" + (f" with {' '.join(touching)}" if touching else "")


def read_yaml(text: str, *, name: str) -> tuple[object, Source]:
    """Parses a YAML document.

    Args:
        text: The document.
        name: What it is called in messages.

    Raises:
        ConfigurationError: If it is not valid YAML, holds a key twice, asks for Python objects, or means too much.
    """
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"{name}{line}: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name}: not valid YAML: {error}.") from None
    finally:
        loader.dispose()
    lines: dict[Path, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return value, Source(name, lines)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses duplicate keys and reads ``1e-3`` as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} appears twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 takes a number with an exponent but without a dot for a string.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) >= _MAX_DEPTH:
        raise ConfigurationError(f"line {lines[path]}: nested more than {_MAX_DEPTH} levels deep; write it flatter.")
    if len(lines) > _MAX_ENTRIES:
        raise ConfigurationError(
            f"line {lines[path]}: more than {_MAX_ENTRIES:,} entries, aliases counted where they stand; write less."
        )
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            inner = (*path, key_node.value)
            lines[inner] = key_node.start_mark.line + 1
            _note_lines(value_node, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), lines)
