"""The exceptions that Splitbench raises.

Every message names the refused value, what is allowed, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 5


class SplitbenchError(Exception):
    """The base class of all exceptions that Splitbench raises."""


class ConfigurationError(SplitbenchError):
    """A call, a setting or a file is invalid; nothing was run."""


class UnknownNameError(ConfigurationError):
    """An unknown name.

    Args:
        kind: What the name denotes, in the singular (``"splitter"``).
        name: The given name.
        choices: The known names.
        where: The file, key or argument with the name, if any.
        remedy: A further sentence: how the name could become known, or where to look further.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], *, where: str = "", remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        self.choices = tuple(sorted(choices))
        near = nearest_name(name, self.choices) if isinstance(name, str) else None
        hint = f" Did you mean {near!r}?" if near else ""
        known = ", ".join(self.choices) or "none"
        prefix, tail = f"{where}: " if where else "", f" {remedy}" if remedy else ""
        super().__init__(f"{prefix}unknown {kind} {name!r}.{hint} Known: {known}.{tail}")


class DataError(SplitbenchError):
    """Data is absent, incomplete, damaged, or not of the expected kind."""


class GraphError(SplitbenchError):
    """A network cannot be traced or stored, or does not treat the images of a batch one by one."""


class MaskError(SplitbenchError):
    """A mask does not fit its network."""


class ModuleFileError(SplitbenchError):
    """A module file is damaged, foreign, or of a newer format."""


class SplitFailedError(SplitbenchError):
    """A splitter could not produce usable modules."""


def listed_names(names: Iterable[str]) -> str:
    """Return names in quotes for a message, or the first of many and how many more there are."""
    every = list(map(repr, names))
    rest = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + rest


def nearest_name(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most similar to ``name``, or None if none is similar."""
    close = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return close[0] if close else None
