"""A typed registry of named things, open to other packages through entry points."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import UnionType
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

from pydantic import PydanticUndefinedAnnotation, PydanticUserError

from splitters.errors import ConfigurationError, UnknownNameError
from splitters.foreign_code import importing
from splitters.settings import Settings
from splitters.source_code import code_fingerprint, defining_modules, is_typed, note_typed_anew

T = TypeVar("T")


class Registry(Generic[T]):
    """Names, and what they stand for. A name stands for one thing: a second one is refused.

    Args:
        kind: What an entry is, in the singular, for messages (``"splitter"``).
        entry_point_group: The group under which installed packages offer entries of their own;
            each is loaded when its name is first asked for.
        homes: Names and the modules that register them; each is imported when its name is first asked for.
        subclass_of: The base class of entries that are classes.
        instance_of: The class of entries that are objects.
    """

    def __init__(
        self,
        kind: str,
        *,
        entry_point_group: str | None = None,
        homes: Mapping[str, str] | None = None,
        subclass_of: type | None = None,
        instance_of: type | None = None,
    ) -> None:
        self.kind = kind
        self._subclass_of = subclass_of
        self._instance_of = instance_of
        self._group = entry_point_group
        self._homes = dict(homes or {})
        self._entries: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        self._checked: set[str] = set()

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its object under ``name``.

        Raises:
            ConfigurationError: If the name is taken by something else, or is none.
        """
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a {self.kind} is registered under a name: @...register("mine"), not {name!r}.')
        module = str(sys._getframe(1).f_globals.get("__name__", ""))

        def add(entry: T) -> T:
            known = self._entries.get(name, entry)
            if known is not entry and not _is_redefined(known, entry):
                raise self._registered_twice(name, self._module_of(name), module)
            home = self._homes.get(name, module)
            if module != home and not module.startswith(f"{home}."):
                raise self._registered_twice(name, home, module)
            self._entries[name] = entry
            self._modules.setdefault(name, module)
            self._checked.discard(name)
            if known is not entry:
                note_typed_anew()
            return entry

        return add

    def get(self, name: str, *, where: str = "") -> T:
        """Return the entry called ``name``.

        Args:
            name: The entry's name.
            where: The file and key that held the name, for the message.

        Raises:
            UnknownNameError: If there is no such entry.
            ConfigurationError: If installed packages offer others of that name, or the entry cannot be imported or is
                of the wrong type.
        """
        if name not in self._entries:
            self._load(name)
        if name not in self._entries:
            raise self.unknown(name, where=where)
        if name not in self._checked:
            self._refuse_rivals(name)
            self._require_usable(name, self._entries[name])
            self._checked.add(name)
        return self._entries[name]

    def unknown(self, name: str, *, where: str = "") -> UnknownNameError:
        """Return the error that there is no entry called ``name``; see ``get``."""
        own = f"A {self.kind} of your own: install its package, or name its module under 'plugins' in the suite."
        return UnknownNameError(self.kind, name, self, where=where, remedy=own if self._group and where else "")

    def code_fingerprint(self, name: str) -> str:
        """Return a hash of the code behind an entry, without this package's own; empty for built-ins.

        Raises:
            UnknownNameError: If there is no such entry.
        """
        entry = self.get(name)  # first: an entry of another package is registered when it is loaded
        modules = {self._modules.get(name, ""), getattr(entry, "__module__", "")}
        if self._subclass_of and isinstance(entry, type):
            modules |= defining_modules(entry, self._subclass_of)
        return code_fingerprint(filter(None, modules))

    def __iter__(self) -> Iterator[str]:
        """Yield the known names, sorted."""
        yield from sorted({*self._entries, *self._homes, *self._offered})

    def __contains__(self, name: object) -> bool:
        """Return whether ``name`` is known."""
        return name in self._entries or name in self._homes or name in self._offered

    @cached_property
    def _offered(self) -> Mapping[str, list[EntryPoint]]:
        # Read once: a look through all installed packages takes as long as planning a hundred cells.
        offered: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self._group) if self._group else ():
            offered.setdefault(point.name, []).append(point)
        return offered

    def _load(self, name: str) -> None:
        if name in self._homes:
            importlib.import_module(self._homes[name])
        elif name in self._offered:
            point = self._offered[name][0]
            entry = self._loaded(point)
            self._entries.setdefault(name, entry)
            self._modules.setdefault(name, point.module)

    def _refuse_rivals(self, name: str) -> None:
        for point in self._offered.get(name, ()):
            if name in self._homes or self._loaded(point) is not self._entries[name]:
                raise self._registered_twice(name, self._module_of(name), point.module)

    def _loaded(self, point: EntryPoint) -> T:
        package = f", of the installed package {point.dist.name!r}," if point.dist else ""
        with importing(f"the {self.kind} {point.name!r}{package}", remedy="Update or uninstall the package."):
            entry: T = point.load()
        return entry

    def _require_usable(self, name: str, entry: T) -> None:
        problem = ""
        if self._instance_of and not isinstance(entry, self._instance_of):
            problem = f"is {entry!r}; it must be a {_public_name(self._instance_of)}"
        elif self._subclass_of and not (isinstance(entry, type) and issubclass(entry, self._subclass_of)):
            problem = f"is {entry!r}; it must be a subclass of {_public_name(self._subclass_of)}"
        elif self._subclass_of:
            problem = (
                _class_problem(entry)
                or _attribute_problem(entry, self._subclass_of)
                or _signature_problem(entry, self._subclass_of)
            )
        if problem:
            raise ConfigurationError(f"the {self.kind} {name!r} of {_place(self._module_of(name))} {problem}.")

    def _module_of(self, name: str) -> str:
        return self._modules.get(name) or getattr(self._entries.get(name), "__module__", "") or self._homes[name]

    def _registered_twice(self, name: str, first: str, second: str) -> ConfigurationError:
        return ConfigurationError(
            f"the {self.kind} {name!r} is registered twice: by {_place(first)} and by {_place(second)}; "
            "rename one of them."
        )


def _is_redefined(known: Any, entry: Any) -> bool:
    """Return whether a definition was typed again, as in a notebook whose cell runs twice."""
    names = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (known, entry)]
    return names[0] == names[1] and is_typed(str(names[0][0]))


def _class_problem(entry: Any) -> str:
    """Return why a class cannot be used; empty if it can."""
    if missing := sorted(getattr(entry, "__abstractmethods__", ())):
        return f"lacks {', '.join(f'{method}()' for method in missing)}"
    settings = getattr(entry, "Settings", Settings)
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        return f"has {settings!r} as its Settings; they must be a subclass of splitters.Settings"
    try:
        settings.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        return f"has Settings with a type that cannot be found: {error.message.partition(chr(10))[0]}"
    return ""


def _attribute_problem(entry: Any, base: Any) -> str:
    """Return which class attribute is not of the type that the base class declares; empty if all are."""
    for name, hint in get_type_hints(base).items():
        if get_origin(hint) is ClassVar and hasattr(entry, name) and name != "Settings":
            (declared,) = get_args(hint)
            value = getattr(entry, name)
            if not _is_of(value, declared):
                return f"has the {name} {value!r}; it must be of the type {getattr(declared, '__name__', declared)}"
    return ""


def _is_of(value: Any, declared: Any) -> bool:
    origin = get_origin(declared)
    if origin is type:
        return isinstance(value, type) and issubclass(value, get_args(declared)[0])
    is_number = declared is not int or not isinstance(value, bool)
    return is_number and isinstance(value, declared if origin in (None, UnionType) else origin)


def _signature_problem(entry: Any, base: Any) -> str:
    """Return which arguments its callers name and a method does not take; empty if there are none."""
    for name in sorted(base.__abstractmethods__):
        declared, method = getattr(base, name), getattr(entry, name)
        if not (inspect.isfunction(declared) and inspect.isfunction(method)):
            continue
        taken = inspect.signature(method).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            continue
        wanted = [p.name for p in inspect.signature(declared).parameters.values() if p.kind is p.KEYWORD_ONLY]
        missing = [argument for argument in wanted if argument not in [parameter.name for parameter in taken]]
        if missing:
            return (
                f"has a {name}() that does not take {', '.join(missing)}; its callers pass {', '.join(wanted)} by name"
            )
    return ""


def _public_name(base: type) -> str:
    return f"{base.__module__.partition('.')[0]}.{base.__name__}"


def _place(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"{module} ({file})" if file else module
