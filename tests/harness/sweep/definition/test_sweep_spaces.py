from __future__ import annotations

import re
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sweep.definition.parameter import Parameter
from harness.sweep.definition.space import Space
from splitters.errors import ConfigurationError

SETTINGS = {"rounds": 3, "alpha": 0.5, "rescue": False}
GRADSPLITTER = {
    "alpha": {"float": [0.1, 2.0], "log": True},
    "rounds": {"int": [2, 8], "step": 2},
    "mask_phase": {"int": [30, 120], "step": 30, "unit": "steps"},
    "batch_size": [16, 32],
    "rescue_attempts": {"int": [1, 3], "when": {"rescue": True}},
    "rescue": [True, False],
}


def space(settings: dict[str, Any], parameters: dict[str, Any], splitter: str = "gradsplitter") -> Space:
    return Space.parse(splitter, splitter, settings, parameters, where=lambda *key: f"a.yaml: {'.'.join(key)}")


def by_chance(seed: int) -> Any:
    random = Random(seed)

    def pick(parameter: Parameter) -> Any:
        values = parameter.values
        return random.choice(values) if values else random.uniform(parameter.low, parameter.high)

    return pick


@given(st.integers(min_value=0))
def test_values_become_settings_and_settings_the_same_values(seed: int) -> None:
    searched = space(SETTINGS, GRADSPLITTER)
    values = searched.choose(by_chance(seed))
    assert searched.read(searched.spec(values)) == values


def test_a_parameter_is_searched_only_where_its_condition_holds() -> None:
    searched = space(SETTINGS, GRADSPLITTER)
    assert [parameter.name for parameter in searched.parameters][-1] == "rescue_attempts"
    rescued = searched.choose(lambda p: True if p.name == "rescue" else (p.values or [1.0])[0])
    dead = searched.choose(lambda p: False if p.name == "rescue" else (p.values or [1.0])[0])
    assert rescued["rescue_attempts"] == 1
    assert "rescue_attempts" not in dead


def test_a_length_is_a_number_with_a_unit() -> None:
    searched = space(SETTINGS, {"mask_phase": {"int": [30, 120], "step": 30, "unit": "steps"}})
    spec = searched.spec({"mask_phase": 60})
    assert spec.settings["mask_phase"] == "60 steps"
    assert searched.read(spec) == {"mask_phase": 60}
    other = searched.spec({}).model_copy(update={"settings": {**spec.settings, "mask_phase": "60 epochs"}})
    assert searched.read(other) is None


@pytest.mark.parametrize(
    "changes",
    [{"alpha": 3.0}, {"rounds": 3}, {"tolerance": 0.5}, {"batch_size": 64}, {"mask_phase": "45 steps"}],
)
def test_settings_outside_the_space_or_with_another_fixed_value_are_no_point_of_it(changes: dict[str, Any]) -> None:
    searched = space(SETTINGS, GRADSPLITTER)
    spec = searched.spec({"alpha": 0.5, "rounds": 4, "mask_phase": 60, "batch_size": 16, "rescue": False})
    assert searched.read(spec) is not None
    assert searched.read(spec.model_copy(update={"settings": {**spec.settings, **changes}})) is None


def test_settings_of_another_version_of_the_splitter_are_no_point() -> None:
    searched = space(SETTINGS, GRADSPLITTER)
    spec = searched.spec({"alpha": 0.5, "rounds": 4, "mask_phase": 60, "batch_size": 16, "rescue": False})
    assert searched.read(spec.model_copy(update={"version": spec.version + 1})) is None


def test_the_default_is_a_point_if_it_is_inside() -> None:
    assert space(SETTINGS, {"alpha": {"float": [0.1, 1]}}).default == {"alpha": 0.5}
    assert space(SETTINGS, {"alpha": {"float": [0.6, 1]}}).default is None


def test_a_space_with_an_end_is_counted_and_listed_without_what_conditions_forbid() -> None:
    small = space({}, {"rescue": [True, False], "rescue_attempts": {"int": [1, 3], "when": {"rescue": True}}})
    assert small.size == 6
    points = list(small.points())
    assert len(points) == 4
    assert {"rescue": False} in points
    assert space({}, {"alpha": {"float": [0.1, 1]}}).size is None


def test_choices_may_be_lists_and_are_compared_as_settings_write_them() -> None:
    searched = space({}, {"curve_shares": [[0.5, 1.0], [0.2, 0.6, 1]]}, splitter="cnnsplitter")
    for choice in searched.parameters[0].choices:
        assert searched.read(searched.spec({"curve_shares": choice})) == {"curve_shares": choice}


def test_settings_that_identities_leave_out_at_their_defaults_are_searched_and_read_by_conditions() -> None:
    alpha = {"float": [0.05, 0.5], "when": {"sparsity": "channels"}}
    searched = space({}, {"sparsity": ["channels", "kernels"], "alpha": alpha}, splitter="gradsplitter")
    assert "sparsity" not in searched.base.settings
    assert searched.default == {"sparsity": "channels", "alpha": 0.1}
    for point in searched.default, {"sparsity": "kernels"}:
        assert searched.read(searched.spec(point)) == point
    fixed = space({}, {"alpha": alpha}, splitter="gradsplitter")
    assert fixed.default == {"alpha": 0.1}


def test_a_combination_that_the_splitter_refuses_is_found_when_it_is_asked_for() -> None:
    searched = space({"elites": 2}, {"population": [4, 20], "parents": [2, 10]}, splitter="cnnsplitter")
    assert searched.spec({"population": 20, "parents": 10}).settings["parents"] == 10
    with pytest.raises(ConfigurationError, match="10 parents cannot be chosen among a population of 4"):
        searched.spec({"population": 4, "parents": 10})


def test_conditions_read_settings_that_are_not_searched_and_those_that_keep_their_own() -> None:
    attempts = {"rescue_attempts": {"int": [1, 3], "when": {"rescue": True}}}
    space({"rescue": True}, attempts)
    with pytest.raises(ConfigurationError, match="rescue never has the value True in this sweep: it is False, and not"):
        space({"rescue": False}, attempts)
    searched = {"rescue": [True, False], **attempts, "alpha": {"float": [0.1, 1], "when": {"rescue_attempts": 5}}}
    found = space({"rescue_attempts": 5}, searched).choose(lambda p: False if p.name == "rescue" else 0.5)
    assert found == {"rescue": False, "alpha": 0.5}, "where it is not searched, it keeps its own value"


def test_conditions_in_a_circle_are_refused() -> None:
    circle = {
        "rounds": {"int": [1, 3], "when": {"batch_size": 16}},
        "batch_size": {"int": [8, 16], "when": {"rounds": 2}},
    }
    with pytest.raises(ConfigurationError, match="the conditions of rounds, batch_size lead in a circle"):
        space({}, circle)


@pytest.mark.parametrize(
    ("name", "wanted", "reason"),
    [
        ("batch_size", 64, "64 is none of [16, 32]"),
        ("rounds", 9, "9 lies outside 2 to 8"),
        ("rounds", 3, "3 is no multiple of 2 from 2 on"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(name: str, wanted: int, reason: str) -> None:
    conditional = {**GRADSPLITTER, "alpha": {"float": [0.1, 1], "when": {name: [wanted]}}}
    message = f"a.yaml: alpha: when: {name} never has the value {wanted} in this sweep: {reason}"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        space({}, conditional)


def test_random_points_cover_a_finite_space() -> None:
    small = space({}, {"rescue": [True, False], "rescue_attempts": {"int": [1, 3], "when": {"rescue": True}}})
    points = [str(point) for point in islice(small.random_points(Random(0)), 200)]
    assert set(points) == set(map(str, small.points()))


def test_random_points_of_a_range_that_is_too_long_to_list_are_settings_too() -> None:
    searched = {
        "batch_size": {"int": [1, 100_000]},
        "rounds": {"int": [1, 100_001], "step": 2},
        "mask_phase": {"int": [1, 100_000], "unit": "steps"},
        "alpha": {"float": [0.0, 100.0], "step": 0.001},
    }
    large = space({}, searched)
    assert large.size is None
    for values in islice(large.random_points(Random(0)), 20):
        assert large.read(large.spec(values)) == values


def test_a_space_of_many_points_is_listed_without_being_built() -> None:
    steps = {"float": [0.0001, 1.0], "step": 0.0001}
    large = space({}, {"alpha": steps, "mask_learning_rate": steps, "head_learning_rate": steps})
    assert large.size == 10_000**3
    assert len({str(point) for point in islice(large.points(), 50)}) == 50
