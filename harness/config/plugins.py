"""Plugins: the user's modules that register splitters, scenarios, models and data sets."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from splitters.foreign_code import importing


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
        places = f"installed, or in {self.folder}" if self.folder else "installed"
        working_folder = Path.cwd()
        for name in self.modules:
            meant = f" Did you mean {Path(name).stem!r}?" if name.endswith(".py") else ""
            remedy = f"It must be a module's dotted name, {places}.{meant}"
            with importing(f"{where}: the plugin {name!r}" if where else f"the plugin {name!r}", remedy=remedy):
                importlib.import_module(name)
            if Path.cwd() != working_folder:
                os.chdir(working_folder)  # relative locations are those of the caller
