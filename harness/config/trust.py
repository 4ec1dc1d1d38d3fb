"""Trust in code that results name. Results are data: the code they name is imported only if a user here named it too.

Names are trusted, and the folder in which plugins and the models of weights files are, but not the content of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder

from harness.config.cache_folder import cache_folder
from harness.config.plugins import Plugins
from splitters.errors import ConfigurationError

_FOLDER = "trusted-code"
_FACTORY = "python:"
"""Prefix of the names of models that are the user's code."""
_MODEL = "model "


@dataclass(frozen=True)
class Consent:
    """The code of results that may be imported, besides what was named on this machine before.

    Args:
        own: The caller's own plugins; where results name the same ones, these are used.
        code: Other code that the caller names itself, in the words of ``names_of_code``.
        folder: A folder of plugins that the caller names and thereby trusts.
        everything: Whether to trust all code that results name, now and later.
    """

    own: Plugins = field(default_factory=Plugins)
    code: frozenset[str] = frozenset()
    folder: str | None = None
    everything: bool = False

    def admit(self, named: Plugins, values: object, *, where: str) -> Plugins:
        """Return the plugins to import for results.

        Args:
            named: The plugins that the results name.
            values: Their other values; see ``names_of_code``.
            where: The results, for messages.

        Raises:
            ConfigurationError: If they name code that is not trusted here.
        """
        plugins, untrusted = named, named
        if set(named.modules) <= set(self.own.modules):
            plugins, untrusted = self.own, Plugins()
        elif self.folder is not None and all(_is_in(name, self.folder) for name in named.modules):
            plugins, untrusted = Plugins(named.modules, self.folder), Plugins()
        code = [name for name in names_of_code(untrusted, values) if name not in self.code]
        if self.everything:
            trust(code)
        else:
            _require(code, where)
        return plugins


def consent_of(plugins: Plugins, values: object) -> Consent:
    """Return the consent of a user whose own file names plugins and, among its values, models."""
    return Consent(own=plugins, code=frozenset(names_of_code(plugins, values)))


def names_of_code(plugins: Plugins, values: object) -> tuple[str, ...]:
    """Return a description of all code outside the package that plugins and a file's values name.

    Args:
        plugins: Plugins.
        values: Mappings, lists and plain values; any text in them may be the name of a model.
    """
    modules = [f"plugin {name}" + (f" in {plugins.folder}" if plugins.folder else "") for name in plugins.modules]
    return (*modules, *sorted({f"{_MODEL}{text}" for text in _texts(values) if text.startswith(_FACTORY)}))


def trust_named(plugins: Plugins, values: object) -> None:
    """Remember the code that a user's own file names, and the folder of models that are beside that file."""
    code = names_of_code(plugins, values)
    here = [name for name in code if name.startswith(_MODEL) and plugins.folder and _is_in(_top(name), plugins.folder)]
    trust([*code, *(f"{name} in {plugins.folder}" for name in here)])


def is_trusted_model(name: str, folder: str) -> bool:
    """Return whether a model is no code outside of the package, or was named on this machine.

    Args:
        name: The model's name.
        folder: The folder in which models are found; one in it must have been named while it was found there.
    """
    model = f"{_MODEL}{name}"
    return not name.startswith(_FACTORY) or _is_noted(f"{model} in {folder}" if _is_in(_top(model), folder) else model)


def trust(code: Iterable[str]) -> None:
    """Remember that a user of this machine has named code, in the words of ``names_of_code``."""
    # Without the note, the code merely has to be named again.
    with contextlib.suppress(OSError):
        for name in code:
            folder = cache_folder() / _FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _key(name)).write_text(name, encoding="utf-8")


def places_of(modules: Sequence[str], values: object = None) -> list[str]:
    """Return the folders from which all this code was used on this machine and where it still is.

    If plugins are in none of them, because they are installed, any folder that they were used from serves.

    Args:
        modules: Names of plugins.
        values: Other values, among which there may be models; see ``names_of_code``.
    """
    models = [name for name in names_of_code(Plugins(), values) if _folders_noted(name)]
    used = [*(_folders_noted(f"plugin {name}") for name in modules), *map(_folders_noted, models)]
    common = sorted(set.intersection(*used)) if used else []
    needed = [*modules, *map(_top, models)]
    there = [folder for folder in common if folder and all(_is_in(name, folder) for name in needed)]
    return there or (common[:1] if modules else [])


def _folders_noted(code: str) -> set[str]:
    notes = [path.read_text(encoding="utf-8") for path in (cache_folder() / _FOLDER).glob("*")]
    return {folder for name, found, folder in (note.partition(" in ") for note in notes) if name == code and found}


def _top(model: str) -> str:
    """Return the top-level module of ``model python:PACKAGE.MODULE:FACTORY``."""
    return model.removeprefix(_MODEL + _FACTORY).partition(":")[0].partition(".")[0]


def _require(code: Iterable[str], where: str) -> None:
    untrusted = [name for name in code if not _is_noted(name)]
    if untrusted:
        raise ConfigurationError(
            f"{where} names code that was never used on this machine: {', '.join(untrusted)}. It would run with your "
            "rights. If you trust whoever wrote these results, give --trust-code to 'splitbench front', 'rerun' or "
            "'export-study', once; if plugins are elsewhere on this machine, --plugins DIR."
        )


def _is_noted(code: str) -> bool:
    return (cache_folder() / _FOLDER / _key(code)).is_file()


def require_found(plugins: Plugins, consent: Consent, *, where: str) -> None:
    """Check that the plugins that were admitted for results can be found, before they are imported.

    Args:
        plugins: The plugins.
        consent: What admitted them.
        where: The results, for messages.

    Raises:
        ConfigurationError: If one is neither in its folder nor installed.
    """
    folder = consent.folder or plugins.folder
    for name in plugins.modules:
        if not (folder and _is_in(name, folder)) and not _is_installed(name):
            places = f"neither in {folder} nor installed" if folder else "not installed"
            raise ConfigurationError(f"{where}: the plugin {name!r} is {places}. Say where it is with --plugins DIR.")


def _is_installed(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.modules or PathFinder.find_spec(top) is not None


def _is_in(module: str, folder: str) -> bool:
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
