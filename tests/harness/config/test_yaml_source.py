from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from harness.config.yaml_source import read_text, read_yaml
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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("012", 12),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("10:20", "10:20"),
        ("1:30:00.5", "1:30:00.5"),
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("=", "="),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("Null", None),
        ("", None),
        ("1.", 1.0),
        (".5e+1", 5.0),
        ("-.INF", float("-inf")),
        ("2026-02-30", "2026-02-30"),
        ("2026-02-03", "2026-02-03"),
        ("'12'", "12"),
        ("-9223372036854775808", -(2**63)),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("!!null ''", None),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    read = read_yaml(f"a: {text}", name="f")[0]
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: x\x0by\n", "line 2: the character U+000B in column 5 is not allowed in YAML; delete it."),
        ("a\0:\0 \x001\0", "line 1: a NUL character; if the file is UTF-16, save it as UTF-8."),
        ("a: 1\nb: \udc80\n", "line 2: the character U+DC80 in column 4 is not allowed in YAML; delete it."),
        ("a:\n\tb: 1\n", "line 2: a tab where YAML takes only spaces."),
        ("a: 1\n---\nb: 1\n", "line 2: expected a single document in the stream, but found another document."),
        ("a: 1\nb: " + "[" * 5000, "line 2: nested more than 20 levels deep; write it flatter."),
        ("a: 1\nb: &b {<<: *b}\n", "line 2: nested more than 20 levels deep; write it flatter."),
        ("a: 1\nb: " + "9" * 5000, "line 2: an integer of 5,000 characters is too large."),
        ("a: 1\nb: 0x" + "f" * 5000, "line 2: an integer of 5,002 characters is too large."),
        (
            "a: 1\nb: 9223372036854775808\n",
            "line 2: the integer 9223372036854775808 is too large; integers have 64 bits.",
        ),
        (
            "a: 1\nb: 0xffffffffffffffff\n",
            "line 2: the integer 0xffffffffffffffff is too large; integers have 64 bits.",
        ),
        ("a: 1\n18446744073709551616: 1\n", "line 2: the integer 18446744073709551616 is too large; integers have 64"),
        ("a: 1\nb: !!null foo\n", "line 2: 'foo' is not null."),
        ("a: 1\nb: !mine x\n", "line 2: the tag !mine is not supported; remove it."),
        ("a: 1\nb: !!int x\n", "line 2: 'x' is not an integer."),
        ("a: 1\nb: !!float x\n", "line 2: 'x' is not a number."),
        ("a: 1\nb: !!bool no\n", "line 2: 'no' is neither true nor false."),
        ("a: 1\nb: !!timestamp 2026-02-30\n", "line 2: the tag !!timestamp is not supported; remove it."),
        ("a: 1\nb: !!binary =\n", "line 2: the tag !!binary is not supported; remove it."),
        ("a: 1\nb: !!set {x}\n", "line 2: the tag !!set is not supported; remove it."),
        ("a: 1\nb: !!str [x]\n", "line 2: expected a scalar node, but found sequence."),
        ("a: 1\n[x]: 1\n", "line 2: a key must be a plain word."),
        ("a: 1\n? {x: 1}\n: 1\n", "line 2: a key must be a plain word."),
        ("a: 1\nb: *c\n", "line 2: found undefined alias 'c'."),
        ("a: 1\nb: {<<: x}\n", "line 2: only mappings can be merged, not a scalar."),
        ('a: 1\nb: "\\U00110000"\n', "line 2: not valid YAML: chr() arg not in range(0x110000)."),
        ('a: 1\nb: "\\ud800"\n', "line 2: an escape that is half a character (a lone surrogate)."),
        ("%YAML 1." + "9" * 5000 + "\n--- x\n", "line 1: not valid YAML: Exceeds the limit"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_yaml(text, name="f.yaml")
    assert str(refusal.value).startswith(f"f.yaml, {message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("merge", ["", "<<: "])
def test_aliases_that_multiply_are_refused_with_file_and_line(merge: str) -> None:
    first = "a0: &a0 {x: 1}\n"
    rest = "".join(
        f"a{level}: &a{level} {{{merge or 'k: '}[{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 8)
    )
    with pytest.raises(ConfigurationError, match=r"^f\.yaml, line 1: more than 100,000 entries"):
        read_yaml(first + rest, name="f.yaml")


@pytest.mark.parametrize("key", ["x", "a longer key"])
def test_of_merged_mappings_the_first_wins_and_own_keys_win_over_all(key: str) -> None:
    text = f"a: &a {{{key}: 1}}\nb: &b {{<<: *a, {key}: 2}}\nc: {{<<: *b}}\nd: {{<<: [*b, *a]}}\n"
    assert read_yaml(text, name="f")[0] == {"a": {key: 1}, "b": {key: 2}, "c": {key: 2}, "d": {key: 2}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: ü\n".encode("utf-16"), "line 1: the file is UTF-16; save the file as UTF-8."),
        ("a: 1\nb: ü\n".encode("latin-1"), "line 2: byte 0xFC is not UTF-8; save the file as UTF-8."),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError) as refusal:
        read_text(path, kind="suite")
    assert str(refusal.value) == f"{path}, {message}"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_text(tmp_path, kind="suite")
    assert str(refusal.value) == f"{tmp_path}: the suite cannot be read: Is a directory."


@pytest.mark.parametrize("key", ["true", "~", "1.5", "null"])
def test_a_key_is_text_as_it_is_spelt(key: str) -> None:
    value, source = read_yaml(f"a: 1\n{key}: 2\n", name="f.yaml")
    assert value == {"a": 1, key: 2}
    assert source.where(key) == "f.yaml, line 2"


@pytest.mark.parametrize("name", ["suite.yaml", "cluster.yaml"])
def test_a_pipe_in_the_place_of_a_file_is_refused_instead_of_waited_for(
    call: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / name)
    options = ["quick", "--cluster"] if name == "cluster.yaml" else []
    result = call("plan", *options, tmp_path / name)
    assert result.exit_code == 2
    assert f"{tmp_path / name}: the " in result.stderr
    assert "cannot be read: it is a pipe or a device; write it to a file." in result.stderr
