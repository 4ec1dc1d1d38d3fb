"""Code that results name. Results are data: what they name is imported only where somebody here has named it too."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.folders import cache_folder
from harness.plugins import Plugins
from splitters.errors import ConfigurationError

_FOLDER = "trusted-code"
_FACTORY = "python:"
"""How the names of models begin that are code of the user's."""


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


def require_trust(code: Iterable[str], *, where: str) -> None:
    """Checks that all of this code has been named on this machine.

    Args:
        code: Of ``names_of_code``.
        where: What names it, for messages.

    Raises:
        ConfigurationError: If some of it has not.
    """
    strange = [name for name in code if not (cache_folder() / _FOLDER / _key(name)).is_file()]
    if strange:
        raise ConfigurationError(
            f"{where} names code that was never used on this machine: {', '.join(strange)}. It would run with your "
            "rights. If you trust whoever wrote these results, add --trust-code to 'splitbench front', 'rerun' or "
            "'export-study', once."
        )


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
