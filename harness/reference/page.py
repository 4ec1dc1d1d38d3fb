"""The reference of suites and sweeps, from their models: ``python -m harness.reference.page > docs/suites.md``."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.cells import ChannelStatistics, DatasetSpec, DirichletSpec, ModelSpec, TrainingSpec
from benchmarks.data.datasets import DATASETS
from benchmarks.models import MODELS
from benchmarks.scenarios.scenario import SCENARIOS
from harness.config.suite import Filter, Override, ScenarioEntry, SplitterEntry, Suite
from harness.reference.schema import FILLED_IN, settings_of
from harness.sweep import Sweep
from harness.sweep.definition.file import Budget, EarlyStopping, Limit, Race, SamplerSpec, SearchedSplitter
from splitters.methods.protocol import SPLITTERS, SplitterReference
from splitters.registry import Registry
from splitters.settings import Settings

_INTRODUCTION = """\
# Suite and sweep files

Every key that a suite or a sweep may have. This page is generated from the models that read these files
(`python -m harness.reference.page > docs/suites.md`). Keys that are not listed are refused, with the file, the line and
the nearest key.

A suite is a YAML file that names splitters, models and data sets, and means all their combinations, on every seed:

```yaml
# yaml-language-server: $schema=suite.schema.json
name: mine
seeds: 3
models: [{name: simcnn, settings: {width: 0.125}}]
datasets: [digits]
training: {recipe: one_cycle, epochs: 12, learning_rate: 0.02, batch_size: 32, crop_padding: 0}
splitters:
  - full
  - {name: gradsplitter, settings: {preset: fast}}
  - {name: importance, label: same size, settings: {like: gradsplitter}}
exclude: [{splitter: same size, seed: 2}]
```

`splitbench run mine.yaml` runs it, `splitbench plan mine.yaml` shows its cells, and `--set training.epochs=3` or
`--set splitters.gradsplitter.alpha=0.3` changes a value for one run. A sweep searches the settings of splitters;
[sweeps.md](sweeps.md) explains how.

**In editors.** `splitbench schema suite > suite.schema.json` (or `sweep`) writes a JSON schema that holds all of this
page and the plug-ins that are installed. The first line of the example makes editors with the YAML language server (VS
Code's YAML extension, Neovim, Helix, Zed, ...) complete keys and mark wrong ones.

**Names of your own.** Splitters, scenarios and data sets come from installed packages (entry points), or from modules
under `plugins`, which may be beside the file: see [own-splitter.md](own-splitter.md). `splitbench ls splitters`
(`models`, `datasets`, `scenarios`) lists what there is on a machine.

YAML is read by version 1.2: `no` is text, `1e-3` a number.
"""

_FILES: tuple[tuple[str, type[Settings]], ...] = (
    ("Suite", Suite),
    ("Entries of `splitters`", SplitterEntry),
    ("Entries of `overrides`", Override),
    ("Entries of `scenario`", ScenarioEntry),
    ("Entries of `models`", ModelSpec),
    ("Normalisation", ChannelStatistics),
    ("Entries of `datasets`", DatasetSpec),
    ("Class shares", DirichletSpec),
    ("Training", TrainingSpec),
    ("Entries of `only` and `exclude`", Filter),
    ("Sweep", Sweep),
    ("Entries of a sweep's `splitters`", SearchedSplitter),
    ("Sampler", SamplerSpec),
    ("Budget", Budget),
    ("Limit", Limit),
    ("Race", Race),
    ("Early stopping", EarlyStopping),
    ("References to splitters", SplitterReference),
)
"""The models of both files, with their titles; each has a section."""

_SETTINGS: tuple[tuple[str, Registry[Any], type[Settings]], ...] = (
    ("splitter", SPLITTERS, SplitterEntry),
    ("scenario", SCENARIOS, ScenarioEntry),
    ("model", MODELS, ModelSpec),
)

_ANY_INTEGER = 2**62
"""Bounds beyond this only say that an integer has 64 bits."""

_INHERITED = "as in a [suite](#suite)"


def suites_markdown() -> str:
    """Return the reference as Markdown. It leaves plug-ins out, so that it is the same on every machine."""
    sections = [_INTRODUCTION]
    for title, model in _FILES:
        first, _, _ = (inspect.getdoc(model) or "").partition("\n")
        sections.append("\n".join([f"## {title}\n", f"{_plain(first)}\n", *_table(model)]))
    for kind, registry, entry in _SETTINGS:
        for name, model in settings_of(entry).items():
            if not registry.code_fingerprint(name) and model is not Settings:
                rows = list(_table(model)) if model.model_fields else ["There is nothing to set."]
                sections.append("\n".join([f"## Settings of the {kind} `{name}`\n", *rows]))
    names = [
        f"- `{name}`: {DATASETS.get(name).description}" for name in DATASETS if not DATASETS.code_fingerprint(name)
    ]
    sections.append("\n".join(["## Names of data sets\n", *names, "", "[data.md](data.md) explains them."]))
    return "\n\n".join(section.rstrip() for section in sections) + "\n"


def _table(model: type[Settings]) -> Iterator[str]:
    schema = model.model_json_schema(mode="validation")
    schema = schema.get("$defs", {}).get(model.__name__, schema)
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in schema["properties"].items():
        if name not in FILLED_IN:
            default = "required" if name in schema.get("required", ()) else _default(field.get("default"))
            meaning = _plain(field.get("description", _INHERITED))
            yield f"| `{name}` | {_value(field)} | {default} | {_cell(meaning)} |"


def _default(value: object) -> str:
    if isinstance(value, dict):
        return _default(value.get("name"))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _default([item.get("name") for item in value])
    if value is None or value in ([], ""):
        return ""
    return f"`{_cell(value if isinstance(value, str) else json.dumps(value))}`"


def _value(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in schema:
        return _link(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_value(part) for part in schema["anyOf"] if part != {"type": "null"}))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        items: Mapping[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
        return f"list of {_value(items)}"
    words = {"string": "text", "boolean": "true or false", "object": "mapping"}
    kind = str(schema.get("type", "any value"))
    examples = [f"such as `{example}`" for example in schema.get("examples", ())[:1]]
    return " ".join([words.get(kind, kind), *examples, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in schema and abs(schema[key]) < _ANY_INTEGER:
            yield f"{sign} {schema[key]:g}"


def _link(name: str) -> str:
    for title, model in _FILES:
        if model.__name__ == name:
            anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            return f"[{title[0].lower()}{title[1:]}](#{anchor})"
    return "mapping"


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(suites_markdown())
