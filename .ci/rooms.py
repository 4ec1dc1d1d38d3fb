"""Draws the floors and rooms of the packages from their imports, and lists what breaks the rules of the layout.

``python .ci/rooms.py`` prints the picture and exits with 1 if a rule is broken; ``--write FILE`` puts the picture
between the markers of a Markdown file. The rules are explained in docs/design.md, section "Floors and rooms".
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Lowest first. A floor imports floors before it; a room imports rooms before it, and its floor's top files.
FLOORS = ("splitters", "benchmarks", "harness")
ROOMS: dict[str, tuple[str, ...]] = {
    "splitters": ("data", "canonical", "graph", "networks", "files", "modules", "methods", "reuse", "testing"),
    "benchmarks": (
        "rows", "cache", "data", "models", "training", "pipeline", "boards", "scenarios", "single_model", "speed",
    ),
    "harness": (
        "config", "store", "machines", "runs", "planning", "execution", "ranking", "views", "sweep", "reference",
        "clusters", "report", "cli", "speed",
    ),
}  # fmt: skip
SURFACES = ("__init__.py", "__main__.py")
"""Files at a floor's top that may import its rooms: public names, and the command."""

MAX_TOP_FILES = 7
ROOM_FILES = range(3, 10)

BEGIN, END = "<!-- rooms: made by .ci/rooms.py -->", "<!-- /rooms -->"


@dataclass(frozen=True)
class Import:
    """One import statement's target.

    Args:
        importer: The importing file.
        line: Its line.
        module: The imported module, as written.
        at_load: Whether it runs when the file is loaded: not in a function, and not for type checkers alone.
    """

    importer: Path
    line: int
    module: str
    at_load: bool


@dataclass(frozen=True)
class Package:
    """A floor.

    Args:
        name: Its package's name.
        root: The folder that holds all floors.
        rooms: Its rooms, the lowest first.
    """

    name: str
    root: Path
    rooms: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / self.name

    @cached_property
    def imports(self) -> list[Import]:
        """Every absolute import of its files, those inside functions and for type checkers included."""
        return [found for file in sorted(self.folder.rglob("*.py")) for found in imports_of(file)]

    @cached_property
    def modules(self) -> dict[str, Path]:
        """The file of each of its modules."""
        names = {file: file.relative_to(self.root).with_suffix("").parts for file in self.folder.rglob("*.py")}
        return {".".join(parts).removesuffix(".__init__"): file for file, parts in names.items()}

    @cached_property
    def loads(self) -> dict[str, set[str]]:
        """The modules of this floor that each module imports when it is loaded; packages around these do not count."""
        names = {file: module for module, file in self.modules.items()}
        graph: dict[str, set[str]] = {module: set() for module in self.modules}
        for statement in self.imports:
            target = self._module(statement.module)
            if statement.at_load and target is not None:
                graph[names[statement.importer]].add(target)
        return graph

    def _module(self, name: str) -> str | None:
        """Return the module that holds a dotted name."""
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((prefix for prefix in prefixes if prefix in self.modules), None)

    def room_of(self, file: Path) -> str:
        """Return the room that a file of this floor belongs to; empty for the floor's top."""
        parts = file.relative_to(self.folder).parts
        return parts[0] if len(parts) > 1 else ""

    def target_room(self, module: str) -> str | None:
        """Return the room that an imported module belongs to; empty for the top, None for another package."""
        parts = module.split(".")
        if parts[0] != self.name:
            return None
        return parts[1] if len(parts) > 1 and (self.folder / parts[1]).is_dir() else ""

    def room_imports(self) -> dict[str, dict[str, list[Import]]]:
        """Return, per room, the other rooms of this floor that it imports, with the statements."""
        found: dict[str, dict[str, list[Import]]] = {room: {} for room in ("", *self.rooms)}
        for statement in self.imports:
            source, target = self.room_of(statement.importer), self.target_room(statement.module)
            if target is not None and target != source:
                found.setdefault(source, {}).setdefault(target, []).append(statement)
        return found


def imports_of(file: Path) -> Iterator[Import]:
    """Yield what a file imports; ``from package import name`` counts as the submodule where there is one."""
    for node, at_load in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (Import(file, node.lineno, f"{node.module}.{alias.name}", at_load) for alias in node.names)


def _statements(node: ast.AST, *, at_load: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Yield all nodes below a node, each with whether it runs when the file is loaded."""
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and child in node.body
        runs = at_load and not is_function and not for_types
        yield child, runs
        yield from _statements(child, at_load=runs)


def packages(root: Path = ROOT) -> list[Package]:
    """Return the floors, the lowest first."""
    return [Package(name, root, ROOMS[name]) for name in FLOORS]


def violations(root: Path = ROOT) -> list[str]:
    """Return one line for everything that breaks a rule of the layout."""
    rules = (_order, _cycles, _sizes)
    return [line for package in packages(root) for rule in rules for line in rule(package)] + list(_namesakes(root))


def _order(package: Package) -> Iterator[str]:
    above = FLOORS[FLOORS.index(package.name) + 1 :]
    for statement in package.imports:
        if statement.module.split(".")[0] in above:
            yield f"{_where(package, statement)}: {package.name} must not import {statement.module}"
    if not package.rooms:
        return
    for source, targets in package.room_imports().items():
        for target, statements in targets.items():
            if source and (not target or package.rooms.index(target) < package.rooms.index(source)):
                continue
            for statement in statements:
                if source or statement.importer.name not in SURFACES:
                    yield f"{_where(package, statement)}: {source or 'the top'} must not import {target}"


def _cycles(package: Package) -> Iterator[str]:
    """Yield modules that import one another, directly or not, when they are loaded; one cycle at a time."""
    try:
        TopologicalSorter(package.loads).prepare()
    except CycleError as error:
        yield f"{package.name}: {', '.join(sorted(set(error.args[1])))} import one another"


def _namesakes(root: Path) -> Iterator[str]:
    """Yield test files of the same name: tests are no packages, so pytest would import one in place of the other."""
    by_name: dict[str, list[str]] = {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        by_name.setdefault(file.name, []).append(str(file.relative_to(root)))
    yield from (f"{' and '.join(files)}: one name for two test files" for files in by_name.values() if len(files) > 1)


def _sizes(package: Package) -> Iterator[str]:
    if not package.rooms:
        return
    folders = {path.name for path in package.folder.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    for name in sorted(folders ^ set(package.rooms)):
        yield f"{package.name}/{name}: in the list of rooms, or on disk, but not in both"
    top = _files(package.folder)
    if len(top) > MAX_TOP_FILES:
        yield f"{package.name}/: {len(top)} files at the top; at most {MAX_TOP_FILES}: {', '.join(top)}"
    for room in package.rooms:
        for folder in [package.folder / room, *(p for p in (package.folder / room).rglob("*") if p.is_dir())]:
            if not (folder / "__init__.py").exists():
                continue
            files, inner = _files(folder), [p for p in folder.iterdir() if (p / "__init__.py").exists()]
            if len(files) + len(inner) not in ROOM_FILES:
                yield (
                    f"{folder.relative_to(package.root)}: {len(files)} files and {len(inner)} folders; "
                    f"{ROOM_FILES.start} to {ROOM_FILES.stop - 1} make a room"
                )
            if not purpose(folder):
                yield f"{folder.relative_to(package.root)}/__init__.py: no docstring that states the room's purpose"


def _files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.py") if not file.name.startswith("__"))


def _where(package: Package, statement: Import) -> str:
    return f"{statement.importer.relative_to(package.root)}:{statement.line}"


def purpose(folder: Path) -> str:
    """Return the first sentence of a package's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def picture(root: Path = ROOT) -> str:
    """Return all floors, the highest first, each with its rooms and what these import."""
    lines = []
    for package in reversed(packages(root)):
        lines.append(f"{package.name}/  {purpose(package.folder)}")
        needs = package.room_imports()
        for room in reversed(package.rooms):
            lines.append(f"  {room + '/':<14}{purpose(package.folder / room)}")
            below = [name for name in reversed(package.rooms) if name in needs[room]]
            if below:
                lines.append(f"  {'':<14}imports {', '.join(below)}")
        lines.append("")
    return "\n".join(lines).rstrip()


def with_picture(text: str, root: Path = ROOT) -> str:
    """Return a Markdown page with the picture between its markers brought up to date."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"The page lacks the markers {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n```text\n{picture(root)}\n```\n{END}{after}"


def main() -> int:
    """Print or write the picture, then what breaks the rules."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", type=Path, metavar="FILE", help="update the picture in this Markdown file")
    page = parser.parse_args().write
    if page is None:
        print(picture())
    else:
        page.write_text(with_picture(page.read_text(encoding="utf-8")), encoding="utf-8")
    broken = violations()
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
