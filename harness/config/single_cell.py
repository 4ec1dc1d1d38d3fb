"""The one cell that a call on the command line means."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmarks.cells import Cell
from harness.config.expand import expand
from harness.config.suite import Filter, load_suite, make_suite


def single_cell(
    model: str,
    dataset: str,
    *,
    splitter: str | None = None,
    seed: int = 0,
    suite: str | None = None,
    changes: Sequence[str] = (),
) -> Cell:
    """Returns the one cell that a call on the command line means.

    Args:
        model: A base model's name.
        dataset: A data set's name.
        splitter: A splitter's name or label; None where it plays no part.
        seed: Seeds images, training and split.
        suite: A suite whose settings are taken, by name or path; without one, all settings have their defaults.
        changes: ``KEY=VALUE`` changes as of a suite, e.g. ``training.epochs=3``, ``models.simcnn.width=0.25``.

    Raises:
        ConfigurationError: If a name, a key or a value is unknown or not allowed.
    """
    if suite is not None:
        loaded = load_suite(suite, changes=[*changes, f"seeds=[{seed}]"])
        wanted = Filter(model=(model,), dataset=(dataset,), splitter=(splitter,) if splitter else ())
        return expand(loaded, only=wanted)[0].cell
    values = {
        "name": "single",
        "models": [model],
        "datasets": [dataset],
        "splitters": [splitter or "full"],
        "seeds": [seed],
        "threads": os.cpu_count() or 1,
    }
    return expand(make_suite(values, title="the call", changes=changes))[0].cell
