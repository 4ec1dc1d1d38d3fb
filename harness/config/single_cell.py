"""The one cell that a call on the command line means."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmarks.cells import Cell, DatasetSpec, ModelSpec
from harness.config.expand import expand
from harness.config.suite import Filter, ScenarioEntry, Suite, load_suite, make_suite


def single_cell(
    model: str | ModelSpec,
    dataset: str,
    *,
    splitter: str | None = None,
    seed: int = 0,
    suite: str | None = None,
    changes: Sequence[str] = (),
) -> Cell:
    """Return the one cell that a call on the command line means.

    Args:
        model: A base model's name; or a given model, complete, whose images count as normalised by ImageNet's
            statistics if it does not say how they are.
        dataset: A data set's name; one that the suite does not have is added to it.
        splitter: A splitter's name or label; None where it plays no part.
        seed: Seeds images, training and split.
        suite: A suite whose settings are taken, by name or path; without one, all settings have their defaults.
        changes: ``KEY=VALUE`` changes as of a suite, e.g. ``training.epochs=3``, ``models.simcnn.width=0.25``.

    Raises:
        ConfigurationError: If a name, a key or a value is unknown or not allowed.
    """
    name = model if isinstance(model, str) else model.name
    if isinstance(model, ModelSpec) and model.normalisation is None:
        model = model.model_copy(update={"normalisation": "imagenet"})
    if suite is not None:
        loaded = load_suite(suite, changes=[*changes, f"seeds=[{seed}]"])
        if isinstance(model, ModelSpec):
            loaded = _with_model(loaded, model)
        # Scenarios play no part, and may be for some models, data sets and splitters alone.
        loaded = _changed(_with_dataset(loaded, dataset), scenario=(ScenarioEntry(name="modularization"),))
        wanted = Filter(model=(name,), dataset=(dataset,), splitter=(splitter,) if splitter else ())
        return expand(loaded, only=wanted)[0].cell
    values = {
        "name": "single",
        "models": [model if isinstance(model, str) else model.model_dump(mode="json")],
        "datasets": [dataset],
        "splitters": [splitter or "full"],
        "seeds": [seed],
        "threads": os.cpu_count() or 1,
    }
    return expand(make_suite(values, title="the call", changes=changes))[0].cell


def _with_model(suite: Suite, model: ModelSpec) -> Suite:
    """Return a suite with a given model in place of its model of that name, or beside its models."""
    others = tuple(entry for entry in suite.models if entry.name != model.name)
    return _changed(suite, models=(*others, model))


def _with_dataset(suite: Suite, name: str) -> Suite:
    """Return a suite with a data set, whose settings have their defaults unless the suite has it already."""
    if any(entry.name == name for entry in suite.datasets):
        return suite
    return _changed(suite, datasets=(*suite.datasets, DatasetSpec(name=name)))


def _changed(suite: Suite, **values: object) -> Suite:
    changed = suite.model_copy(update=values)
    changed._source = suite.source
    return changed
