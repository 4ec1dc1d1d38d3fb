"""What files may name: splitters, models, data sets, scenarios, suites and sweeps, with their settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from splitters.settings import Settings


@dataclass(frozen=True)
class Setting:
    """A setting of a registered class.

    Args:
        name: The key in a suite file.
        type: Type of its value, in words.
        default: The default, as a plain value.
        description: One sentence; empty if its settings model has none.
    """

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True)
class Choice:
    """Something that a suite can name.

    Args:
        name: The name to use in a suite.
        description: One line.
        settings: What can be set; may be empty.
    """

    name: str
    description: str
    settings: tuple[Setting, ...] = ()


def splitter_choices() -> list[Choice]:
    """Return all splitters."""
    from splitters.methods.protocol import SPLITTERS

    splitters = [(name, SPLITTERS.get(name)) for name in SPLITTERS]
    return [Choice(name, _summary(cls), _settings(cls.Settings)) for name, cls in splitters]


def model_choices() -> list[Choice]:
    """Return all architectures."""
    from benchmarks.models import MODELS

    models = [(name, MODELS.get(name)) for name in MODELS]
    return [
        Choice(name, model.description, _settings(getattr(model, "settings_model", Settings))) for name, model in models
    ]


def dataset_choices() -> list[Choice]:
    """Return all data sets, with the settings that every data set takes."""
    from benchmarks.cells import DatasetSpec
    from benchmarks.data.datasets import DATASETS

    settings = tuple(setting for setting in _settings(DatasetSpec) if setting.name not in ("name", "code"))
    return [Choice(name, DATASETS.get(name).description, settings) for name in DATASETS]


def scenario_choices() -> list[Choice]:
    """Return all scenarios."""
    from benchmarks.scenarios.scenario import SCENARIOS

    scenarios = [(name, SCENARIOS.get(name)) for name in SCENARIOS]
    return [Choice(name, _summary(cls), _settings(cls.Settings)) for name, cls in scenarios]


def suite_choices() -> list[Choice]:
    """Return the suites that ship with the package."""
    from harness.config.suite import load_suite, suite_names

    return [Choice(name, load_suite(name).description) for name in suite_names()]


def sweep_choices() -> list[Choice]:
    """Return the sweeps that ship with the package."""
    from harness.config.suite import sweep_names
    from harness.sweep import load_sweep

    return [Choice(name, load_sweep(name).description) for name in sweep_names()]


CHOICES: dict[str, Callable[[], list[Choice]]] = {
    "splitters": splitter_choices,
    "models": model_choices,
    "datasets": dataset_choices,
    "scenarios": scenario_choices,
    "suites": suite_choices,
    "sweeps": sweep_choices,
}
"""What can be listed, by name."""


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0].replace("``", "")


def _settings(model: type[Settings]) -> tuple[Setting, ...]:
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    documented = model.descriptions()
    types = model.model_json_schema(mode="serialization").get("properties", {})
    return tuple(
        Setting(
            name,
            _type_text(types.get(name, {})),
            defaults.get(name, None if field.is_required() else field.default),
            documented.get(name, "").replace("``", ""),
        )
        for name, field in model.model_fields.items()
    )


def _type_text(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type_text(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return str(schema.get("type", "mapping"))
