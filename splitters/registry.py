"""A typed registry of named things, open to other packages through entry points."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from splitters.errors import ConfigurationError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names, and what they stand for.

    Args:
        kind: What an entry is, in the singular (``"splitter"``).
        entry_point_group: The group in which installed packages offer entries; each is loaded on first use.
        homes: Names and the modules that register them; each is imported on first use.
    """

    def __init__(
        self, kind: str, *, entry_point_group: str | None = None, homes: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self._group = entry_point_group
        self._homes = dict(homes or {})
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its object under ``name``.

        Raises:
            ConfigurationError: If the name is taken by something else.
        """

        def add(entry: T) -> T:
            if self._entries.setdefault(name, entry) is not entry:
                raise ConfigurationError(f"the {self.kind} {name!r} is registered twice; rename one of them.")
            return entry

        return add

    def get(self, name: str, *, where: str = "") -> T:
        """Return the entry called ``name``.

        Args:
            name: The entry's name.
            where: The file and key that held the name, for the message.

        Raises:
            UnknownNameError: If there is no such entry.
        """
        if name not in self._entries:
            self._load(name)
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self, where=where)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the known names, sorted."""
        yield from sorted({*self._entries, *self._homes, *self._offered})

    def __contains__(self, name: object) -> bool:
        """Return whether ``name`` is known."""
        return name in self._entries or name in self._homes or name in self._offered

    @cached_property
    def _offered(self) -> Mapping[str, EntryPoint]:
        # Read once: a look through all installed packages takes as long as planning a hundred cells.
        return {point.name: point for point in entry_points(group=self._group)} if self._group else {}

    def _load(self, name: str) -> None:
        if name in self._homes:
            importlib.import_module(self._homes[name])
        elif name in self._offered:
            self._entries.setdefault(name, self._offered[name].load())
