"""Code that results name. Results are data: what they name is imported only where somebody here has named it too.

Trust is in names, and for plugins in the folder where they lie; not in what stands in the files.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder

from harness.config.cache_folder import cache_folder
from harness.config.plugins import Plugins
from splitters.errors import ConfigurationError

_FOLDER = "trusted-code"
_FACTORY = "python:"
"""How the names of models begin that are code of the user's."""


@dataclass(frozen=True)
class Consent:
    """What code of results may be imported, besides what was named on this machine before.

    Args:
        own: Plugins of the caller's own; results that name the same ones mean these, wherever they lie.
        code: What else the caller names itself, as ``names_of_code`` writes it.
        folder: Where the caller says that plugins lie; whoever says so trusts those that lie there.
        everything: Whether to trust all code that results name, now and later.
    """

    own: Plugins = field(default_factory=Plugins)
    code: frozenset[str] = frozenset()
    folder: str | None = None
    everything: bool = False

    def admit(self, named: Plugins, values: object, *, where: str) -> Plugins:
        """Returns the plugins that may be imported for results.

        Args:
            named: What the results name.
            values: The rest of what they say; see ``names_of_code``.
            where: The results, for messages.

        Raises:
            ConfigurationError: If they name code that nobody here has named.
        """
        plugins, strange = named, named
        if set(named.modules) <= set(self.own.modules):
            plugins, strange = self.own, Plugins()
        elif self.folder is not None and all(_lies_in(name, self.folder) for name in named.modules):
            plugins, strange = Plugins(named.modules, self.folder), Plugins()
        code = [name for name in names_of_code(strange, values) if name not in self.code]
        if self.everything:
            trust(code)
        else:
            _require(code, where)
        return plugins


def consent_of(plugins: Plugins, values: object) -> Consent:
    """Returns the consent of somebody whose own file names plugins and, among its values, models."""
    return Consent(own=plugins, code=frozenset(names_of_code(plugins, values)))


def names_of_code(plugins: Plugins, values: object) -> tuple[str, ...]:
    """Returns what of plugins and of a file's values is code outside the package, each in words.

    Args:
        plugins: Modules, and the folder where they may lie.
        values: Mappings, lists and plain values; any text in them may be the name of a model.
    """
    modules = [f"plugin {name}" + (f" in {plugins.folder}" if plugins.folder else "") for name in plugins.modules]
    return (*modules, *sorted({f"model {text}" for text in _texts(values) if text.startswith(_FACTORY)}))


def trust(code: Iterable[str]) -> None:
    """Notes that somebody on this machine has named this code; ``code`` is of ``names_of_code``."""
    # Without the note, the code has to be named again; nothing worse.
    with contextlib.suppress(OSError):
        for name in code:
            folder = cache_folder() / _FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _key(name)).write_text(name, encoding="utf-8")


def places_of(modules: Sequence[str]) -> list[str]:
    """Returns the folders on this machine where somebody has used all these plugins, and where they still are.

    Plugins that are installed lie in none of them; then any folder that they were used from will do.
    """
    used = [_folders_noted(f"plugin {name}") for name in modules]
    common = sorted(set.intersection(*used)) if used else []
    return [folder for folder in common if folder and all(_lies_in(name, folder) for name in modules)] or common[:1]


def _folders_noted(plugin: str) -> set[str]:
    notes = [path.read_text(encoding="utf-8") for path in (cache_folder() / _FOLDER).glob("*")]
    return {folder for name, _, folder in (note.partition(" in ") for note in notes) if name == plugin}


def _require(code: Iterable[str], where: str) -> None:
    strange = [name for name in code if not (cache_folder() / _FOLDER / _key(name)).is_file()]
    if strange:
        raise ConfigurationError(
            f"{where} names code that was never used on this machine: {', '.join(strange)}. It would run with your "
            "rights. If you trust whoever wrote these results, give --trust-code to 'splitbench front', 'rerun' or "
            "'export-study', once; where plugins lie elsewhere on this machine, --plugins DIR."
        )


def _lies_in(module: str, folder: str) -> bool:
    return PathFinder.find_spec(module.partition(".")[0], [folder]) is not None


def _texts(values: object) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from _texts(list(values.values()))
    elif isinstance(values, Sequence):
        for value in values:
            yield from _texts(value)


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
