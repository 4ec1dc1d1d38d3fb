"""JSON schemas of suites and sweeps, with which editors complete and check their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from benchmarks.cells import DatasetSpec, ModelSpec
from benchmarks.data.datasets import DATASETS
from benchmarks.models import MODELS
from benchmarks.scenarios.scenario import SCENARIOS
from harness.config.suite import ScenarioEntry, SplitterEntry, Suite
from harness.sweep import Sweep
from harness.sweep.definition.file import SearchedSplitter
from splitters.methods.protocol import SPLITTERS, SplitterReference
from splitters.settings import Settings

FileKind = Literal["suite", "sweep"]

FILES: Mapping[FileKind, type[Settings]] = {"suite": Suite, "sweep": Sweep}
"""The model of each kind of file."""

_ENTRIES: Mapping[str, type[Settings]] = {
    "models": ModelSpec,
    "datasets": DatasetSpec,
    "splitters": SplitterEntry,
}
"""Lists whose entries may be names alone."""

FILLED_IN = frozenset({"code", "version", "weights_hash"})
"""Fields of entries that are set when a file is expanded to cells; users never write them."""


def settings_of(model: type[Settings]) -> dict[str, type[Settings]]:
    """Return the names that an entry of a file may have, each with the model of its settings."""
    if model in (SplitterEntry, SearchedSplitter):
        return {name: SPLITTERS.get(name).Settings for name in SPLITTERS}
    if model is ScenarioEntry:
        return {name: SCENARIOS.get(name).Settings for name in SCENARIOS}
    if model is ModelSpec:
        return {name: getattr(MODELS.get(name), "settings_model", Settings) for name in MODELS}
    return dict.fromkeys(DATASETS, Settings)


def file_schema(kind: FileKind) -> dict[str, Any]:
    """Return the JSON schema of a kind of file.

    Args:
        kind: ``suite`` or ``sweep``.
    """
    own: tuple[type[Settings], ...] = (ScenarioEntry, SplitterEntry) if kind == "suite" else (SearchedSplitter,)
    entries: list[type[Settings]] = [*own, ModelSpec, DatasetSpec]
    allowed = {entry: settings_of(entry) for entry in entries}
    settings = {model for choices in allowed.values() for model in choices.values()}
    models: list[type[Settings]] = [
        FILES[kind],
        *entries,
        SplitterReference,
        *sorted(settings, key=lambda model: model.__qualname__),
    ]
    references, definitions = models_json_schema([(model, "validation") for model in dict.fromkeys(models)])
    schemas = definitions["$defs"]

    def schema_of(model: type[Settings]) -> dict[str, Any]:
        schema: dict[str, Any] = schemas[references[model, "validation"]["$ref"].rpartition("/")[2]]
        return schema

    for entry, choices in allowed.items():
        schema = schema_of(entry)
        for name in FILLED_IN & schema["properties"].keys():
            del schema["properties"][name]
        schema["properties"]["name"] = _name(schema["properties"]["name"], list(choices))
        if "settings" in schema["properties"]:
            schema["allOf"] = list(_settings_by_name(choices, references))
    file = schema_of(FILES[kind])
    for key, model in _ENTRIES.items():
        if model in allowed:
            items = file["properties"][key]["items"]
            file["properties"][key]["items"] = {"anyOf": [_name({}, list(allowed[model])), items]}
    _accept_labels(schemas, references[SplitterReference, "validation"]["$ref"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **definitions, **file}


def _name(schema: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the schema of a name: one that is known, or any other text, since plug-ins add names."""
    return {**schema, "type": "string", "anyOf": [{"enum": names}, {}]}


def _settings_by_name(
    choices: Mapping[str, type[Settings]], references: Mapping[Any, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for name, model in choices.items():
        if model is not Settings:
            settings = {"properties": {"settings": references[model, "validation"]}}
            yield {"if": {"properties": {"name": {"const": name}}}, "then": settings}


def _accept_labels(schemas: dict[str, Any], reference: str) -> None:
    """Let the label of a splitter stand for it, as in ``like: LABEL``."""
    name = reference.rpartition("/")[2]
    schemas[name] = {"anyOf": [{"type": "string", "description": "The label of another splitter"}, schemas[name]]}
