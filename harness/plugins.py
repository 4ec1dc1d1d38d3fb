"""Modules of the user's own, which register splitters, scenarios, models and data sets."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Plugins:
    """Modules to import before names are looked up, here and in every worker.

    Args:
        modules: Their dotted names.
        folder: A folder to look in besides Python's own path; empty for none.
    """

    modules: tuple[str, ...] = ()
    folder: str = ""

    def load(self) -> None:
        """Imports the modules.

        Raises:
            ConfigurationError: If a module cannot be imported.
        """
        if self.modules and self.folder and self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        for name in self.modules:
            try:
                importlib.import_module(name)
            except (ImportError, SyntaxError, TypeError, ValueError) as error:
                places = f"installed, or in {self.folder}" if self.folder else "installed"
                raise ConfigurationError(
                    f"the plugin {name!r} cannot be imported: {error}. It must be a module's dotted name, {places}."
                ) from error
