from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from harness.config.suite import suite_names

Call = Callable[..., Result]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("splitters", {"gradsplitter", "full", "random", "importance"}),
        ("models", {"simcnn", "rescnn", "incecnn"}),
        ("datasets", {"digits", "cifar10", "parquet:FOLDER"}),
        ("scenarios", {"modularization", "patching", "accuracy_composition", "new_task", "sub_task"}),
        ("suites", set(suite_names())),
    ],
)
def test_everything_is_listed_with_a_description(call: Call, kind: str, names: set[str]) -> None:
    choices = json.loads(call("ls", kind, "--json").stdout)
    assert names <= {choice["name"] for choice in choices}
    assert all(choice["description"] for choice in choices if choice["name"] in names)
    assert not any("`" in choice["description"] for choice in choices)
    assert not any(setting["name"] == "code" for choice in choices for setting in choice["settings"])
    text = call("ls", kind).stdout
    assert all(name in text for name in names)


def test_settings_come_with_type_default_and_meaning(call: Call) -> None:
    choices = {choice["name"]: choice for choice in json.loads(call("ls", "splitters", "--json").stdout)}
    settings = {setting["name"]: setting for setting in choices["gradsplitter"]["settings"]}
    description = settings["alpha"].pop("description")
    assert description.startswith("Weight of the mean of all bits in the loss of mask phases.")
    assert settings["alpha"] == {"name": "alpha", "type": "number", "default": 0.1}
    assert settings["warmup"]["default"] == "5 epochs"
    assert all(setting["description"] for name, setting in settings.items() if name != "alpha")


@pytest.mark.parametrize("kind", ["scenarios", "models", "datasets"])
def test_what_is_asked_for_without_a_default_is_listed_too(call: Call, kind: str) -> None:
    choices = json.loads(call("ls", kind, "--json").stdout)
    settings = [setting for choice in choices for setting in choice["settings"]]
    assert all(setting["description"] for setting in settings)
    if kind == "scenarios":
        other = next(setting for setting in settings if setting["name"] == "other_dataset")
        assert other["default"] is None


def test_an_unknown_kind_is_refused_with_the_choices(call: Call) -> None:
    result = call("ls", "splitter")
    assert result.exit_code == 2
    assert "'splitters'" in result.stderr
