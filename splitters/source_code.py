"""Fingerprints of code that is not this package's own: plug-ins and users' networks change between two runs."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

_OWN = frozenset({"splitters", "benchmarks", "harness"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})

_known: dict[str, tuple[ModuleSpec | None, str]] = {}


def is_foreign(module: str) -> bool:
    """Return whether a module belongs neither to this package nor to Python."""
    top = module.partition(".")[0]
    return top not in _OWN and top not in sys.stdlib_module_names


def code_fingerprint(modules: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of some imported modules' source, and of what they import from beside them.

    "Beside them" means the same package, or, for modules of a folder that is no installation, the same folder. Imports
    count wherever they are written, inside functions too; modules that are imported by a computed name do not.

    Args:
        modules: Dotted names of imported modules; foreign ones count, see ``is_foreign``.

    Returns:
        The hash; for a single file that imports nothing beside it, that of the file. Empty if there is no source.
    """
    found = sorted({fingerprint for name in set(modules) if is_foreign(name) and (fingerprint := _of_module(name))})
    return found[0] if len(found) == 1 else _hash_all(found) if found else ""


def _of_module(name: str) -> str:
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
        if self.root is None or not is_foreign(name) or (self.only and top != self.only):
            return None
        stem = self.root.joinpath(*name.split("."))
        return next(
            (path for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if path.is_file()), None
        )


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
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*levels, *filter(None, [node.module])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _parents(module: str) -> Iterator[str]:
    while module := module.rpartition(".")[0]:
        yield module


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _hash_all(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
