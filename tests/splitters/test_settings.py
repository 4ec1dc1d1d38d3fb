"""Settings: how they are read, and what is said when they are wrong."""

from typing import Any

import pytest
from pydantic import Field, ValidationError, create_model

from splitters.errors import ConfigurationError
from splitters.methods.baselines import ImportanceSettings
from splitters.methods.gradsplitter import GradSplitterSettings
from splitters.settings import Length, PhaseLength, Settings


class _Inner(Settings):
    depth: int = 1


class _Outer(Settings):
    rate: float = Field(gt=0)
    phase: PhaseLength = Length(count=2, unit="epochs")
    inner: _Inner = _Inner()
    maybe: _Inner | None = None


class _Lists(Settings):
    names: tuple[str, ...] = ()
    shape: tuple[int, int, int] = (3, 32, 32)
    few: list[int] = Field(default=[1], min_length=1)
    table: dict[str, int] = Field(default_factory=dict)


def _refusal(values: dict[str, object], model: type[Settings] = _Outer) -> str:
    with pytest.raises(ConfigurationError) as error:
        model.parse(values, where="file.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "count", "unit"),
    [
        ("75 steps", 75, "steps"),
        ("1 step", 1, "steps"),
        ("5 epochs", 5, "epochs"),
        (" 1epoch ", 1, "epochs"),
        ("0 steps", 0, "steps"),
    ],
)
def test_lengths_are_read_from_words(text: str, count: int, unit: str) -> None:
    assert _Outer(rate=1, phase=text).phase == Length(count=count, unit=unit)


def test_lengths_are_written_as_they_are_read() -> None:
    settings = _Outer(rate=1, phase="75 steps")
    assert settings.model_dump(mode="json")["phase"] == "75 steps"
    assert _Outer.parse(settings.model_dump(mode="json"), where="x") == settings


@pytest.mark.parametrize("text", ["75", "steps", "-1 steps", "1.5 epochs", "5 hours", "", 5, 1.5, None, [75]])
def test_other_lengths_are_refused(text: object) -> None:
    assert _refusal({"rate": 1, "phase": text}) == (
        f"file.yaml: phase: a length is written as '75 steps' or '5 epochs', not {text!r}."
    )


def test_lengths_count_steps() -> None:
    assert Length(count=7, unit="steps").steps(samples=100, batch_size=64) == 7
    assert Length(count=3, unit="epochs").steps(samples=100, batch_size=64) == 6
    assert Length(count=3, unit="epochs").steps(samples=128, batch_size=64) == 6


def test_an_unknown_key_gets_the_nearest_and_the_list() -> None:
    assert _refusal({"rate": 1, "phrase": "1 step"}) == (
        "file.yaml: unknown key 'phrase'. Did you mean 'phase'? Known: inner, maybe, phase, rate. See docs/suites.md."
    )


def test_an_unknown_key_of_an_inner_model_gets_that_models_keys() -> None:
    for key in ("inner", "maybe"):
        message = _refusal({"rate": 1, key: {"dept": 2}})
        assert (
            message == f"file.yaml: unknown key '{key}.dept'. Did you mean 'depth'? Known: depth. See docs/suites.md."
        )


def test_missing_and_wrong_values_are_named() -> None:
    assert _refusal({}) == "file.yaml: the key 'rate' is missing."
    assert _refusal({"rate": -1}) == "file.yaml: rate: Input should be greater than 0 (given: -1)."
    assert "nan" in _refusal({"rate": float("nan")})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": None}, "names: expected a list (given: nothing)."),
        ({"few": "x"}, "few: expected a list (given: 'x')."),
        ({"few": []}, "few: expected a list of 1 or more (given: [])."),
        ({"table": [1]}, "table: expected a mapping, KEY: VALUE (given: [1])."),
        ({"shape": [3, 32]}, "shape: too short: item 3 is missing."),
        ({"shape": [1e308, 1, 1]}, "shape.0: expected an integer of 64 bits (given: 1e+308)."),
    ],
)
def test_wrong_kinds_of_values_are_named_in_the_words_of_files(values: dict[str, object], message: str) -> None:
    assert _refusal(values, _Lists) == f"file.yaml: {message}"


def test_all_mistakes_are_told_at_once() -> None:
    assert len(_refusal({"rate": -1, "phrase": 1, "phase": "x"}).splitlines()) == 3


def test_settings_are_frozen() -> None:
    settings = _Outer(rate=1)
    with pytest.raises(ValidationError, match="frozen"):
        settings.rate = 2


def test_gradsplitters_defaults_are_the_papers() -> None:
    assert GradSplitterSettings().model_dump(mode="json") == {
        "alpha": 0.1, "rounds": 20, "warmup": "5 epochs", "mask_phase": "5 epochs", "head_phase": "2 epochs",
        "warmup_learning_rate": 0.01, "mask_learning_rate": 0.001, "head_learning_rate": 0.001, "batch_size": 64,
        "head_width": 10, "tolerance": 0.01, "rescue": True, "rescue_attempts": 3,
    }  # fmt: skip


@pytest.mark.parametrize("length", ["0 steps", "0 epochs"])
def test_gradsplitter_without_mask_steps_is_refused(length: str) -> None:
    assert _refusal({"mask_phase": length}, GradSplitterSettings) == (
        f"file.yaml: mask_phase: a round without mask steps finds no modules; write '1 steps' or more, not '{length}'."
    )
    assert GradSplitterSettings(warmup=length, head_phase=length).mask_phase.count == 5


def test_a_misspelt_setting_of_a_referenced_splitter_is_refused() -> None:
    message = _refusal({"like": {"name": "gradsplitter", "settings": {"alhpa": 1}}}, ImportanceSettings)
    assert "unknown key 'alhpa'. Did you mean 'alpha'?" in message


class _Numbers(Settings):
    count: int = 0
    share: float | None = None
    pair: tuple[int, str] = (0, "")
    by_name: dict[str, float] = Field(default_factory=dict)
    switch: bool = False
    either: bool | int = 0
    anything: Any = None
    free: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.parametrize("values", [
    {"count": True}, {"share": False}, {"pair": [True, "x"]}, {"by_name": {"x": 1, "y": True}},
])  # fmt: skip
def test_a_boolean_is_no_number(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^here: \w+: expected a number, not (true|false)\.$"):
        _Numbers.parse(values, where="here")


@pytest.mark.parametrize("key", ["switch", "either", "anything"])
def test_a_boolean_stays_one_where_it_is_allowed(key: str) -> None:
    assert getattr(_Numbers.parse({key: True}, where="here"), key) is True


def test_free_settings_may_hold_booleans() -> None:
    assert _Numbers.parse({"free": {"x": [True]}}, where="here").free == {"x": [True]}


def test_the_count_of_a_length_is_no_boolean() -> None:
    with pytest.raises(ValidationError, match="expected a number, not true"):
        Length.model_validate({"count": True, "unit": "steps"})


@pytest.mark.parametrize(
    "annotation", [set[str], frozenset[str], dict[str, set[int]] | None, tuple[frozenset[str], ...]]
)
def test_a_setting_may_not_be_a_set_whose_order_differs_between_processes(annotation: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the setting 'layers' of Mine is a set, .* take a tuple"):
        create_model("Mine", __base__=Settings, layers=(annotation, ...))
