"""Schedules: presets that drop kernels, and a warning where no kernel can."""

import logging

import pytest

from harness.config.suite import load_suite
from splitters.methods.gradsplitter.presets import PRESETS
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.protocol import Progress, SplitResult, make_splitter
from splitters.testing import tiny_task

_SHORT = {"rounds": 2, "warmup": "20 steps", "mask_phase": "10 steps", "head_phase": "2 steps", "batch_size": 20}


def _settings(**values: object) -> GradSplitterSettings:
    return GradSplitterSettings.parse(values, where="test")


def _split(**settings: object) -> SplitResult:
    return make_splitter("gradsplitter", settings).split(tiny_task())


@pytest.mark.parametrize("preset", ["small", "fast"])
def test_presets_drop_kernels_and_warn_of_nothing(preset: str, caplog: pytest.LogCaptureFixture) -> None:
    result = _split(preset=preset)
    assert result.masks.retention < 0.9
    assert not [warning for warning in result.warnings if "no kernel" in warning]
    assert not caplog.messages


@pytest.mark.parametrize(("preset", "suite"), [("small", "cifar-cpu"), ("fast", "quick")])
def test_presets_are_the_settings_of_the_suites_that_tried_them(preset: str, suite: str) -> None:
    (entry,) = (entry for entry in load_suite(suite).splitters if entry.name == "gradsplitter")
    assert _settings(preset=preset).model_copy(update={"preset": None}) == _settings(**entry.settings)


def test_the_papers_preset_is_the_default_without_rescue() -> None:
    paper = _settings(preset="paper")
    assert paper.model_copy(update={"preset": None, "rescue": True}) == _settings()
    assert set(PRESETS) == {"paper", "small", "fast"}


def test_given_settings_override_a_preset() -> None:
    assert _settings(preset="small", rounds=2).rounds == 2
    assert _settings(preset="small", rounds=2).mask_learning_rate == 0.03


def test_settings_at_their_defaults_have_the_identity_that_they_had_before_presets() -> None:
    assert not {"preset", "round_to"} & set(_settings().model_dump(mode="json"))
    dumped = _settings(preset="fast", round_to=8).model_dump(mode="json")
    assert (dumped["preset"], dumped["round_to"]) == ("fast", 8)
    assert GradSplitterSettings.parse(dumped, where="test") == _settings(preset="fast", round_to=8)


def test_a_schedule_that_cannot_drop_a_kernel_is_reported_before_the_search(caplog: pytest.LogCaptureFixture) -> None:
    logged_at: list[int] = []

    def note(progress: Progress) -> None:
        logged_at.append(len(caplog.messages))

    with caplog.at_level(logging.WARNING):
        result = make_splitter("gradsplitter", _SHORT).split(tiny_task(), progress=note)
    (message,) = caplog.messages
    assert message == (
        "no kernel can be dropped: 20 mask steps at a mask_learning_rate of 0.001 move masks by at most 0.02, "
        "but a mask must move by 1, from 1 to 0, before its kernel is dropped. Set mask_learning_rate to 0.15, or "
        "rounds to 300, or take preset='small' or 'fast'."
    )
    assert set(logged_at) == {1}
    assert result.warnings[0] == message
    assert result.masks.retention == 1


def test_the_advised_learning_rate_drops_kernels() -> None:
    result = _split(**_SHORT, mask_learning_rate=0.15, alpha=5.0)
    assert result.masks.retention < 1
    assert not [warning for warning in result.warnings if "no kernel" in warning]
