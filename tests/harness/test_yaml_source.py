from __future__ import annotations

import pytest

from harness.yaml_source import read_yaml
from splitters.errors import ConfigurationError


def test_values_are_read_with_their_lines() -> None:
    value, source = read_yaml("a: 1\nb:\n  - x\n  - y: 2\n", name="f.yaml")
    assert value == {"a": 1, "b": ["x", {"y": 2}]}
    assert source.where("b") == "f.yaml, line 2"
    assert source.where("b", 1) == "f.yaml, line 4"
    assert source.where("nowhere") == "f.yaml"


def test_a_key_that_appears_twice_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match=r"f.yaml, line 3: the key 'a' appears twice"):
        read_yaml("a: 1\nb: 2\na: 3\n", name="f.yaml")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "-2e5", "1.5e3"])
def test_a_number_with_an_exponent_is_a_number(text: str) -> None:
    assert read_yaml(text, name="f")[0] == float(text)


def test_python_objects_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"f\.yaml, line 1"):
        read_yaml("!!python/object/apply:os.getcwd []", name="f.yaml")


def test_broken_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match=r"f.yaml, line 2"):
        read_yaml("a: [1,\nb: }", name="f.yaml")


def test_a_list_that_holds_itself_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="levels deep"):
        read_yaml("a: &a [*a]", name="f.yaml")


def test_merged_mappings_may_be_overridden() -> None:
    value, _ = read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", name="f")
    assert value == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}
