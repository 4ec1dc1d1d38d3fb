"""Plugins: the user's modules that register splitters, scenarios, models and data sets."""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Plugins:
    """Modules to import before names are looked up, here and in every worker.

    Args:
        modules: Dotted names.
        folder: The folder of the suite's file, searched besides Python's own path; empty for none.
        models: Whether ``python:`` models may be in the folder too.
    """

    modules: tuple[str, ...] = ()
    folder: str = ""
    models: bool = False

    @property
    def suite_folder(self) -> Path | None:
        """The folder of the suite's file, in which relative folders of data sets are looked for too."""
        return Path(self.folder) if self.folder else None

    def load(self, *, where: str = "") -> None:
        """Import the modules.

        Args:
            where: The file and key that name them, for the message.

        Raises:
            ConfigurationError: If a module cannot be imported.
        """
        if (self.modules or self.models) and self.folder and self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        for name in self.modules:
            try:
                importlib.import_module(name)
            # A plugin is foreign code: it may raise anything, and its author wants to know where.
            except Exception as error:
                prefix = f"{where}: " if where else ""
                raise ConfigurationError(
                    f"{prefix}the plugin {name!r} cannot be imported: {self._cause(name, error)}"
                ) from error

    def _cause(self, name: str, error: Exception) -> str:
        if place := _place(error):
            return f"{place}: {type(error).__name__}: {error}"
        places = f"installed, or in {self.folder}" if self.folder else "installed"
        meant = f" Did you mean {Path(name).stem!r}?" if name.endswith(".py") else ""
        return f"{error}. It must be a module's dotted name, {places}.{meant}"


def _place(error: Exception) -> str:
    """Return the file and line of an error, or nothing if Python's importer raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    # The first frame is this file's own.
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if len(frames) > 1 else ""
