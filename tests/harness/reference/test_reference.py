"""The reference of suites and sweeps, and their JSON schemas, say what the code that reads them does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.config.expand import expand
from harness.config.suite import Suite, make_suite, read_packaged, suite_names, sweep_names
from harness.config.yaml_source import read_yaml
from harness.reference.page import _INTRODUCTION
from harness.reference.schema import file_schema
from splitters.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").rglob("suite.yaml"))


def problems(kind: str, text: str) -> list[str]:
    values, _ = read_yaml(text, name=kind)
    validator = jsonschema.Draft202012Validator(file_schema(kind))
    return [error.message for error in validator.iter_errors(values)]


def test_the_page_is_up_to_date() -> None:
    # In a process of its own: tests register names that no reader has.
    done = subprocess.run(
        [sys.executable, "-m", "harness.reference.page"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    page = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    assert done.stdout == page, "run: python -m harness.reference.page > docs/suites.md"


def test_every_key_is_explained_or_that_of_a_suite() -> None:
    page = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    sections = dict(section.split("\n", 1) for section in page.split("\n## ")[1:])
    unexplained = {title for title, section in sections.items() if "as in a [suite]" in section}
    inherited = re.findall(r"^\| `(\w+)` .* as in a \[suite\]", sections["Sweep"], re.MULTILINE)
    assert unexplained == {"Sweep"}
    assert set(inherited) <= Suite.model_fields.keys()


@pytest.mark.parametrize("name", suite_names())
def test_the_schema_accepts_the_suites_of_the_package(name: str) -> None:
    assert problems("suite", read_packaged(name)) == []


@pytest.mark.parametrize("name", sweep_names())
def test_the_schema_accepts_the_sweeps_of_the_package(name: str) -> None:
    assert problems("sweep", read_packaged(name)) == []


@pytest.mark.parametrize("text", [_INTRODUCTION.split("```yaml\n")[1].split("```")[0], *map(Path.read_text, EXAMPLES)])
def test_the_schema_accepts_the_suites_of_the_documentation(text: str) -> None:
    assert problems("suite", text) == []


_SUITE: dict[str, Any] = {"name": "a", "models": ["simcnn"], "datasets": ["digits"], "splitters": ["full"]}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3},
        {"seeds": 0},
        {"seeds": []},
        {"seeds": [1, 1]},
        {"scenario": []},
        {"only": []},
        {"exclude": []},
        {"timeout": "soon"},
        {"timeout": 0},
        {"training": {"epoch": 3}},
        {"splitters": [{"name": "gradsplitter", "settings": {"alfa": 0.3}}]},
        {"splitters": [{"name": "gradsplitter", "settings": {"warmup": "5 minutes"}}]},
        {"splitters": [{"name": "gradsplitter", "settings": {"preset": "tiny"}}]},
        {"models": [{"name": "simcnn", "settings": {"width": 0}}]},
        {"models": []},
        {"scenario": {"name": "sub_task", "settings": {"sizes": []}}},
        {"datasets": [{"name": "digits", "code": "filled in by us"}]},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, Any]) -> None:
    assert problems("suite", json.dumps(_SUITE)) == []
    assert len(problems("suite", json.dumps({**_SUITE, **change}))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [3, 5]},
        {"timeout": 90},
        {"timeout": "30m"},
        {"scenario": "patching"},
        {"splitters": [{"name": "of_a_plugin", "settings": {"anything": 1}}]},
        {"splitters": ["full", {"name": "random", "settings": {"like": "full"}}]},
        {"models": ["torchvision:resnet18"]},
        {"datasets": ["folder:pets:test=val"]},
    ],
)
def test_the_schema_accepts_what_the_reader_accepts(change: dict[str, Any]) -> None:
    assert problems("suite", json.dumps({**_SUITE, **change})) == []


def test_the_schema_explains_keys_in_an_editor() -> None:
    schema = file_schema("suite")
    settings = schema["$defs"]["GradSplitterSettings"]["properties"]
    assert schema["properties"]["timeout"]["description"].startswith("How long a cell may take")
    assert settings["warmup"]["default"] == "5 epochs"
    assert settings["preset"]["anyOf"][0] == {"enum": ["fast", "paper", "small"]}


@pytest.mark.parametrize(
    "change", [{"seed": 3}, {"training": {"epoch": 3}}, {"splitters": [{"name": "gradsplitter", "settings": {"a": 3}}]}]
)
def test_who_writes_an_unknown_key_is_sent_to_the_page(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key '.*See docs/suites\.md\.$"):
        expand(make_suite({**_SUITE, **change}, title="mine.yaml"))
