"""What there is to choose from: splitters, models, data sets, scenarios, suites, with their settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from splitters.settings import Settings


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        name: Its key.
        type: What it holds.
        default: Its default as a plain value.
        description: One sentence, if its settings model has one.
    """

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True)
class Choice:
    """One thing that can be named in a suite.

    Args:
        name: Its name.
        description: One line.
        settings: Its settings; empty where it has none of its own.
    """

    name: str
    description: str
    settings: tuple[Setting, ...] = ()


def splitter_choices() -> list[Choice]:
    """Returns all splitters."""
    from splitters.methods.protocol import SPLITTERS

    splitters = [(name, SPLITTERS.get(name)) for name in SPLITTERS]
    return [Choice(name, _summary(cls), _settings(cls.Settings)) for name, cls in splitters]


def model_choices() -> list[Choice]:
    """Returns all architectures."""
    from benchmarks.models import MODELS

    models = [(name, MODELS.get(name)) for name in MODELS]
    return [
        Choice(name, model.description, _settings(getattr(model, "settings_model", Settings))) for name, model in models
    ]


def dataset_choices() -> list[Choice]:
    """Returns all data sets, each with what may be said of any data set."""
    from benchmarks.cells import DatasetSpec
    from benchmarks.datasets import DATASETS

    settings = tuple(setting for setting in _settings(DatasetSpec) if setting.name != "name")
    return [Choice(name, DATASETS.get(name).description, settings) for name in DATASETS]


def scenario_choices() -> list[Choice]:
    """Returns all scenarios."""
    from benchmarks.scenarios.base import SCENARIOS

    scenarios = [(name, SCENARIOS.get(name)) for name in SCENARIOS]
    return [Choice(name, _summary(cls), _settings(cls.Settings)) for name, cls in scenarios]


def suite_choices() -> list[Choice]:
    """Returns the suites that come with the package."""
    from harness.config import load_suite, suite_names

    return [Choice(name, load_suite(name).description) for name in suite_names()]


def sweep_choices() -> list[Choice]:
    """Returns the sweeps that come with the package."""
    from harness.config import sweep_names
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
"""What can be listed, by the word for it."""


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _settings(model: type[Settings]) -> tuple[Setting, ...]:
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    documented = _argument_texts(model)
    types = model.model_json_schema(mode="serialization").get("properties", {})
    return tuple(
        Setting(
            name,
            _type_text(types.get(name, {})),
            defaults.get(name, None if field.is_required() else field.default),
            (field.description or documented.get(name, "")).replace("``", ""),
        )
        for name, field in model.model_fields.items()
    )


def _type_text(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type_text(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return str(schema.get("type", "mapping"))


def _argument_texts(model: type[Settings]) -> dict[str, str]:
    """Returns what the docstrings of a settings model and its bases say of each setting."""
    texts: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not (issubclass(cls, Settings)):
            continue
        _, _, arguments = (inspect.getdoc(cls) or "").partition("Args:\n")
        name = ""
        for line in arguments.splitlines():
            head, colon, rest = line.strip().partition(":")
            if line.startswith("    ") and not line.startswith("     ") and colon and head.isidentifier():
                name, texts[head] = head, rest.strip()
            elif name and line.strip():
                texts[name] = f"{texts[name]} {line.strip()}"
    return texts
