"""Wrong settings of scenarios, and classes that are no scenarios, are refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from reuse_cells import reuse_cell

from benchmarks.cells import ModelSpec
from benchmarks.scenarios.modularization import Modularization
from benchmarks.scenarios.scenario import SCENARIOS, make_scenario
from splitters.errors import ConfigurationError

_DIGITS = {"name": "digits", "classes": ["5", "6"]}
_WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("accuracy_composition", {"base_models": 1}, "base_models"),
    ("accuracy_composition", {"networks": [{"name": "rescnn"}]}, "networks: 'rescnn' is the cell's own model"),
    ("accuracy_composition", {"networks": [{"name": "simcn"}]}, "unknown model 'simcn'. Did you mean 'simcnn'"),
    ("accuracy_composition", {"networks": [{"name": "simcnn"}] * 2}, "a network appears twice"),
    ("accuracy_composition", {"models": 3}, "unknown key 'models'"),
    ("new_task", {"other_dataset": {"name": "digits", "classes": ["3", "4"]}}, "is the cell's own data set"),
    ("new_task", {"other_dataset": {"name": "digits"}}, "is the cell's own data set"),
    ("new_task", {"other_dataset": {"name": "digits", "classes": ["4", "4"]}}, "classes are at least two, each once"),
    (
        "new_task",
        {"other_dataset": {"name": "digit"}},
        "other_dataset: unknown data set 'digit'. Did you mean",
    ),
    ("new_task", {"other_dataset": _DIGITS, "size": 3}, "all tasks of 3 classes would be too many"),
    ("new_task", {"other_dataset": _DIGITS, "images_per_class": [0]}, "images_per_class"),
    ("new_task", {"other_dataset": _DIGITS, "image_per_class": [1]}, "Did you mean 'images_per_class'"),
    ("patching", {"weak_kind": "over_simpel"}, "weak_kind"),
    ("patching", {"fusion": ["minmax"]}, "unknown fusion rule 'minmax'. Did you mean 'min_max'"),
    ("patching", {"fusions": ["gate"]}, "unknown key 'fusions'. Did you mean 'fusion'"),
    ("patching", {"weak_classes": ["a"]}, "give both or neither"),
    ("patching", {"weak_dataset": {"name": "digit"}, "weak_classes": ["a"]}, "weak_dataset: unknown data set 'digit'"),
    ("sub_task", {"sizes": []}, "sizes"),
    ("sub_task", {"sizes": [1]}, "sizes"),
    ("sub_task", {"size": 3}, "unknown key 'size'. Did you mean 'sizes'"),
]


@pytest.mark.parametrize(("scenario", "settings", "message"), _WRONG)
def test_wrong_settings_are_refused_before_anything_runs(scenario: str, settings: dict[str, Any], message: str) -> None:
    cell = reuse_cell(scenario, classes=("0", "1", "3"), **settings)
    with pytest.raises(ConfigurationError, match=message):
        make_scenario(scenario, cell.scenario_settings).check(cell)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("board", {"sort": "accuracy_loss"}, "has the board .*; it must be of the type Board"),
        ("version", "2", "has the version '2'; it must be of the type int"),
        ("selection", 3, r"has the selection 3; it must be of the type str \| None"),
    ],
)
def test_a_class_attribute_of_another_type_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: object, message: str
) -> None:
    mine = type("Mine", (Modularization,), {attribute: value})
    monkeypatch.setitem(SCENARIOS._entries, "mine", mine)
    with pytest.raises(ConfigurationError, match=f"scenario 'mine'.* {message}"):
        make_scenario("mine", {})


@pytest.mark.parametrize("name", ["accuracy_composition", "modularization", "new_task", "patching", "sub_task"])
def test_images_that_a_network_cannot_take_are_refused_before_anything_runs(name: str) -> None:
    other = {"other_dataset": {"name": "digits", "classes": ["5", "6"]}} if name == "new_task" else {}
    cell = reuse_cell(name, classes=("0", "1", "3"), **other)
    small = {"model": ModelSpec(name="simcnn"), "dataset": cell.dataset.model_copy(update={"input_shape": (1, 8, 8)})}
    with pytest.raises(ConfigurationError, match="8"):
        make_scenario(name, cell.scenario_settings).check(cell.model_copy(update=small))
