"""The errors that Splitbench raises on purpose.

Every message holds the value that was refused, what is allowed, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SplitbenchError(Exception):
    """The root of every error that Splitbench raises on purpose."""


class ConfigurationError(SplitbenchError):
    """A call, a setting or a file is wrong; nothing was run."""


class UnknownNameError(ConfigurationError):
    """A name is not among the known ones.

    Args:
        kind: What the name stands for, in the singular (``"splitter"``).
        name: The name that was given.
        choices: The names that are known.
        where: The file, key or argument that held the name, if one did.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], *, where: str = "") -> None:
        self.kind = kind
        self.name = name
        self.choices = tuple(sorted(choices))
        near = nearest_name(name, self.choices)
        hint = f" Did you mean {near!r}?" if near else ""
        known = ", ".join(self.choices) or "none"
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}unknown {kind} {name!r}.{hint} Known: {known}.")


class DataError(SplitbenchError):
    """A data set is absent, incomplete or damaged."""


class GraphError(SplitbenchError):
    """A network cannot be traced, or does not treat the images of a batch one by one."""


class MaskError(SplitbenchError):
    """A mask does not fit the network that it is meant for."""


class ModuleFileError(SplitbenchError):
    """A module file is damaged, foreign, or of a newer format."""


class SplitFailedError(SplitbenchError):
    """A splitter could not produce usable modules."""


def nearest_name(name: str, choices: Iterable[str]) -> str | None:
    """Returns the choice most like ``name``, or None where none is alike."""
    close = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return close[0] if close else None
