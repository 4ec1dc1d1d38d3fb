"""Fingerprints of code that is not this package's own: plug-ins and users' networks change between two runs."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

_OWN = frozenset({"splitters", "benchmarks", "harness"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})

_typed = secrets.token_hex(32)
"""Stands for code that was typed into this process: another process cannot know whether it is the same."""

_known: dict[str, tuple[ModuleSpec | None, str]] = {}


def note_typed_anew() -> None:
    """Give the code that was typed into this process another fingerprint, since some of it was typed again."""
    global _typed
    _typed = secrets.token_hex(32)


def is_typed(module: str) -> bool:
    """Return whether a module's code was typed into this process: a notebook or an interpreter."""
    return module == "__main__" and not getattr(sys.modules.get(module), "__file__", None)


def is_foreign(module: str) -> bool:
    """Return whether a module belongs neither to this package nor to Python."""
    top = module.partition(".")[0]
    return top not in _OWN and top not in sys.stdlib_module_names


def code_fingerprint(modules: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of some imported modules' source, and of what they import that is no installation.

    That is the same package, or, for modules of a folder that is no installation, the same folder, and modules of other
    such folders on Python's path. Imports count wherever they are written, inside functions too; modules that are
    imported by a computed name do not. Code that was typed into a notebook or an interpreter has no file: its hash is
    another one in each process.

    Args:
        modules: Dotted names of imported modules; foreign ones count, see ``is_foreign``.

    Returns:
        The hash; for a single file that imports nothing of that kind, that of the file. Empty if there is no source.
    """
    found = sorted({fingerprint for name in set(modules) if is_foreign(name) and (fingerprint := _of_module(name))})
    return found[0] if len(found) == 1 else _hash_all(found) if found else ""


def defining_modules(cls: type, base: type) -> set[str]:
    """Return the modules of a class and of the classes between it and a base."""
    return {each.__module__ for each in cls.__mro__ if issubclass(each, base)}


def _of_module(name: str) -> str:
    if is_typed(name):
        return _typed
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    # A file may have changed since it was imported. What runs is what was imported, which reloading replaces.
    if name not in _known or _known[name][0] is not spec:
        _known[name] = (spec, _Sources.of(name, getattr(module, "__file__", None)).fingerprint(name))
    return _known[name][1]


@dataclass(frozen=True)
class _Sources:
    """The folder that a package or a single module lies in, and the modules in it that may belong together.

    Args:
        root: The folder; None where the module has no file.
        only: The one top-level package that counts; empty where all of the folder's do.
    """

    root: Path | None
    only: str

    @classmethod
    def of(cls, name: str, file: str | None) -> _Sources:
        path = Path(file).resolve() if file else None
        if path is None or not path.is_file():
            return cls(None, "")
        depth = name.count(".") + (path.stem == "__init__")
        root = path.parents[depth] if name != "__main__" else path.parent
        return cls(root, name.partition(".")[0] if root.name in _INSTALLED else "")

    def fingerprint(self, name: str) -> str:
        """Return the hash of a module and of all that it imports from here, directly or not."""
        first = self._path(name)
        if first is None:
            file = getattr(sys.modules.get(name), "__file__", None)
            return _hash_file(Path(file)) if file and Path(file).is_file() else ""
        found: dict[str, Path] = {}
        waiting = [name]
        while waiting:
            module = waiting.pop()
            path = self._path(module)
            if path is not None and module not in found:
                found[module] = path
                waiting += [*_imports(module, path), *_parents(module)]
        if len(found) == 1:
            return _hash_file(first)
        return _hash_all(f"{module} {_hash_file(path)}" for module, path in sorted(found.items()))

    def _path(self, name: str) -> Path | None:
        top = name.partition(".")[0]
        if self.root is None or not is_foreign(name):
            return None
        here = None if self.only and top != self.only else _file_in(self.root, name)
        return here or _file_in(_folder_of(top), name)


def _file_in(root: Path | None, name: str) -> Path | None:
    if root is None:
        return None
    stem = root.joinpath(*name.split("."))
    return next((path for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if path.is_file()), None)


def _folder_of(top: str) -> Path | None:
    """Return the folder on Python's path that holds a package or module; None if packages are installed there."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    places = [*(spec.submodule_search_locations or ()), *filter(None, [spec.origin])] if spec else []
    folder = Path(places[0]).resolve().parent if places else None
    return None if folder is None or _INSTALLED & set(folder.parts) else folder


def _imports(module: str, path: Path) -> Iterator[str]:
    """Yield the names of what a file imports; some are no modules but members of one."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield _absolute(node.args[0].value, package)
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*levels, *filter(None, [node.module])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:
        return name


def _parents(module: str) -> Iterator[str]:
    while module := module.rpartition(".")[0]:
        yield module


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _hash_all(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
