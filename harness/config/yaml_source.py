"""YAML as people write it: safe, without duplicate keys, and with the line of every entry for error messages."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml

from splitters.errors import ConfigurationError

EntryPath = tuple[str | int, ...]
"""Keys of mappings and indices of lists that lead to an entry."""

_TAG = "tag:yaml.org,2002:"
_NO_KEYS = frozenset(f"{_TAG}{kind}" for kind in ("null", "bool", "float"))
"""Kinds of values that are text where they are keys, so that messages spell them as the file does."""

_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")

_INTEGERS = range(-(2**63), 2**63)
_MAX_CHARACTERS = 100
"""Of an integer; longer ones are refused before they are parsed, which takes quadratic time."""

_MAX_DEPTH = 20
_TOO_DEEP = f"nested more than {_MAX_DEPTH} levels deep; write it flatter"
_MAX_ENTRIES = 100_000
"""With anchors and aliases, a few lines can mean billions of entries."""


@dataclass(frozen=True)
class Source:
    """Where values come from, for error messages.

    Args:
        name: The file, or whatever stands in for it.
        lines: The line of each entry by its path, counted from 1.
        path: The absolute path of the user's file; empty if there is none.
        changes: Options of the command line that changed values.
        given: The settings of splitters that these options give, by the index of the entry of ``splitters``.
        spellings: The spelling of each number, boolean and null by its path.
    """

    name: str
    lines: dict[EntryPath, int] = field(default_factory=dict)
    path: str = ""
    changes: tuple[str, ...] = ()
    given: Mapping[int, frozenset[str]] = field(default_factory=dict)
    spellings: dict[EntryPath, str] = field(default_factory=dict)

    def where(self, *path: str | int) -> str:
        """Return the file, the line of an entry or of its nearest parent, and the changes that affect it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), ())
        line = f", line {self.lines[known]}" if known else ""
        affecting = [change for change in self.changes if not path or change.startswith(f"--set {path[0]}")]
        return f"{self.name}{line}" + (f" with {' '.join(affecting)}" if affecting else "")

    def spelling(self, *path: str | int) -> str | None:
        """Return the spelling of a number, boolean or null in the file, or in the change that affects it, if known."""
        affecting = [change for change in self.changes if path and change.startswith(f"--set {path[0]}")]
        if affecting:
            key, _, text = affecting[-1].partition("=")
            return text.strip() if key.endswith(str(path[-1])) else None
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.spellings), ())
        return self.spellings.get(known)


def read_text(path: Path, *, kind: str) -> str:
    """Read a UTF-8 file.

    Args:
        path: The file.
        kind: Its kind, for messages, e.g. ``suite``.

    Raises:
        ConfigurationError: If it cannot be opened, is a pipe or a device, or is not UTF-8.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is a pipe or a device; write it to a file")  # which may never end
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: the {kind} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        is_utf16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        cause = "the file is UTF-16" if is_utf16 else f"byte 0x{error.object[error.start]:02X} is not UTF-8"
        raise ConfigurationError(f"{path}, line {line}: {cause}; save the file as UTF-8.") from None


def read_yaml(text: str, *, name: str) -> tuple[object, Source]:
    """Parse a YAML document by YAML 1.2's core schema.

    Args:
        text: The document.
        name: Its name in messages.

    Raises:
        ConfigurationError: If it is not valid YAML, holds a key twice, asks for Python objects, or expands to too much.
    """
    _refuse_control_characters(text, name)
    loader = _CoreLoader(text)
    entries = _Entries()
    try:
        node = loader.get_single_node()
        if node is not None:
            entries.note(node, ())
        value = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"{name}{line}: {_cause(error)}.") from None
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        # PyYAML's scanner lets some of Python's own errors through, for example on the escape "\\U00110000".
        raise ConfigurationError(f"{name}, line {loader.line + 1}: not valid YAML: {error}.") from None
    finally:
        loader.dispose()
    return value, Source(name, entries.lines, spellings=entries.spellings)


def _refuse_control_characters(text: str, name: str) -> None:
    match = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if match is None:
        return
    line = text.count("\n", 0, match.start()) + 1
    if match[0] == "\0":
        raise ConfigurationError(f"{name}, line {line}: a NUL character; if the file is UTF-16, save it as UTF-8.")
    column = match.start() - text.rfind("\n", 0, match.start())
    character = f"the character U+{ord(match[0]):04X} in column {column}"
    raise ConfigurationError(f"{name}, line {line}: {character} is not allowed in YAML; delete it.")


def _cause(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "not valid YAML"
    if "'\\t'" in problem:
        return "a tab where YAML takes only spaces"
    if unknown := re.search(r"constructor for the tag '(.*)'", problem):
        return f"the tag {unknown[1].replace(_TAG, '!!')} is not supported; remove it"
    # PyYAML splits some sentences in two: "expected ..., but found ...".
    return f"{error.context}, {problem}" if problem.startswith("but ") and error.context else problem


def _refuse(node: yaml.Node, problem: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _CoreLoader(yaml.SafeLoader):
    """Resolve plain scalars by YAML 1.2's core schema, and refuse duplicate keys and deep nesting.

    ``no``, ``10:20`` and ``2026-02-30`` are text, ``012`` is 12 and ``1e-3`` a number. Of YAML 1.1, only merge keys
    (``<<``) remain.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # The stub forgets ClassVar.
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (_TAG + "seq", _TAG + "map", None)
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH + 1:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if event.tag == "!":
            event.tag = _TAG + "str"  # YAML 1.2: whatever has the tag "!" is text.
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                _refuse(key, "a key must be a plain word")
            if key.value in seen:
                _refuse(key, f"the key {key.value!r} appears twice")
            seen.add(key.value)
            if key.tag in _NO_KEYS:
                key.tag = _TAG + "str"
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # PyYAML 6.0.4 compares merged keys by identity, so string interning would decide which of two values wins.
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag != _TAG + "merge":
                own[key.value] = (key, value)
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    _refuse(source, f"only mappings can be merged, not a {source.id}")
                self.flatten_mapping(source)
                for pair in source.value:
                    merged.setdefault(pair[0].value, pair)
        node.value = list({**merged, **own}.values())

    def construct_text(self, node: yaml.ScalarNode) -> str:
        text = str(self.construct_scalar(node))
        if any("\ud800" <= character <= "\udfff" for character in text):
            _refuse(node, "an escape that is half a character (a lone surrogate)")
        return text

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if not _INTEGER.fullmatch(text):
            _refuse(node, f"{text!r} is not an integer")
        if len(text) > _MAX_CHARACTERS:
            _refuse(node, f"an integer of {len(text):,} characters is too large")
        value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if value not in _INTEGERS:
            _refuse(node, f"the integer {text} is too large; integers have 64 bits")
        return value

    def construct_float(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node)
        if not _FLOAT.fullmatch(text):
            _refuse(node, f"{text!r} is not a number")
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))

    def construct_null(self, node: yaml.ScalarNode) -> None:
        text = self.construct_scalar(node)
        if not _NULL.fullmatch(text):
            _refuse(node, f"{text!r} is not null")

    def construct_boolean(self, node: yaml.ScalarNode) -> bool:
        text = self.construct_scalar(node)
        if not _BOOLEAN.fullmatch(text):
            _refuse(node, f"{text!r} is neither true nor false")
        return bool(text.lower() == "true")


_CoreLoader.add_constructor(_TAG + "str", _CoreLoader.construct_text)
_CoreLoader.add_constructor(_TAG + "null", _CoreLoader.construct_null)
_CoreLoader.add_constructor(_TAG + "int", _CoreLoader.construct_integer)
_CoreLoader.add_constructor(_TAG + "float", _CoreLoader.construct_float)
_CoreLoader.add_constructor(_TAG + "bool", _CoreLoader.construct_boolean)
# The first that matches wins: an integer is also a float.
_CoreLoader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<\Z"), ["<"])
_CoreLoader.add_implicit_resolver(_TAG + "null", _NULL, ["~", "n", "N", ""])
_CoreLoader.add_implicit_resolver(_TAG + "bool", _BOOLEAN, list("tTfF"))
_CoreLoader.add_implicit_resolver(_TAG + "int", _INTEGER, list("-+0123456789"))
_CoreLoader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))


def yaml_1_1_differences(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each plain scalar that YAML 1.1 reads differently: its line, its spelling, and its meaning there.

    Args:
        text: A document that ``read_yaml`` accepts.
    """
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if not isinstance(event, yaml.ScalarEvent) or event.style is not None or not event.implicit[0]:
            continue
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        core, old = _CoreLoader(""), yaml.SafeLoader("")
        core_tag = core.resolve(yaml.ScalarNode, event.value, (True, False))  # type: ignore[no-untyped-call]
        old_tag = old.resolve(yaml.ScalarNode, event.value, (True, False))  # type: ignore[no-untyped-call]
        if core_tag == old_tag and core_tag != _TAG + "int":
            continue
        try:
            value = old.construct_object(yaml.ScalarNode(old_tag, event.value))
        except (yaml.YAMLError, ValueError):
            yield line, event.value, "an error"
            continue
        if core_tag != old_tag or value != core.construct_object(yaml.ScalarNode(core_tag, event.value)):
            kind = {bool: "", int: "the number ", float: "the number ", str: "the text "}.get(type(value), "the date ")
            yield line, event.value, kind + (str(value).lower() if kind == "" else str(value))


class _Entries:
    """The line of every entry, and the spelling of numbers, booleans and nulls."""

    def __init__(self) -> None:
        self.lines: dict[EntryPath, int] = {}
        self.spellings: dict[EntryPath, str] = {}

    def note(self, node: yaml.Node, path: EntryPath) -> None:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) >= _MAX_DEPTH:
            _refuse(node, _TOO_DEEP)
        if len(self.lines) > _MAX_ENTRIES:
            _refuse(node, f"more than {_MAX_ENTRIES:,} entries, each alias counted as what it stands for; write less")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*path, key.value)
                self.lines[inner] = key.start_mark.line + 1
                self.note(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.note(item, (*path, index))
        elif node.tag != _TAG + "str":
            self.spellings[path] = node.value
