"""Time to quality: the first recorded state that is good enough, its steps and seconds."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from harness.speed.time_to_quality import TimeToQuality, times_to_quality

_STATES = [(0.99, 0.9, 10.0), (0.98, 0.5, 20.0), (0.985, 0.45, 30.0), (0.99, 0.4, 40.0)]
"""Accuracy, retention and seconds after each round."""


def _row(
    states: list[tuple[float, float, float]], *, phase: str = "60 steps", model: str = "simcnn", rounds: int = 4
) -> Any:
    names = ("accuracy", "kernel_retention", "seconds")
    figures = [
        SimpleNamespace(step=number, name=name, value=value)
        for number, state in enumerate(states, start=1)
        for name, value in zip(names, state, strict=True)
    ]
    figures.append(SimpleNamespace(step=None, name="rescues", value=0.0))
    settings = {"mask_phase": phase, "batch_size": 10, "rounds": rounds}
    return SimpleNamespace(
        splitter_label=None, splitter="gradsplitter", model=model, figures=figures, select_base_accuracy=0.99,
        split_train_images=95, config=json.dumps({"splitter": {"name": "gradsplitter", "settings": settings}}),
    )  # fmt: skip


def test_the_first_state_within_both_limits_counts() -> None:
    assert times_to_quality([_row(_STATES)], loss=0.01, retention=0.5) == [
        TimeToQuality("gradsplitter", "simcnn", splits=1, reached=1, steps=120, seconds=20.0)
    ]
    (stricter,) = times_to_quality([_row(_STATES)], loss=0.005, retention=0.5)
    assert (stricter.steps, stricter.seconds) == (180, 30.0)


def test_phases_in_epochs_are_counted_in_steps() -> None:
    (found,) = times_to_quality([_row(_STATES, phase="2 epochs")], loss=0.0, retention=0.4)
    assert found.steps == 4 * 2 * 10


def test_states_made_after_the_last_round_have_the_mask_steps_of_all_rounds() -> None:
    (found,) = times_to_quality([_row(_STATES, rounds=3)], loss=0.0, retention=0.4)
    assert (found.steps, found.seconds) == (3 * 60, 40.0)


def test_medians_are_over_the_splits_that_reached_it_and_networks_stand_apart() -> None:
    rows = [_row(_STATES), _row(_STATES[2:]), _row(_STATES[:1]), _row(_STATES[:1], model="rescnn")]
    rescnn, simcnn = times_to_quality(rows, loss=0.01, retention=0.5)
    assert (rescnn.reached, rescnn.splits, rescnn.steps) == (0, 1, None)
    assert rescnn.line() == "| gradsplitter | rescnn | 0 of 1 | - | - |"
    assert (simcnn.reached, simcnn.splits, simcnn.steps, simcnn.seconds) == (2, 3, 90, 25.0)
    assert simcnn.line() == "| gradsplitter | simcnn | 2 of 3 | 90 | 25.0 |"


def test_rows_without_recorded_states_are_left_out() -> None:
    assert times_to_quality([_row([])], loss=0.01, retention=0.5) == []


def test_baselines_which_record_no_times_are_left_out() -> None:
    baseline = _row(_STATES)
    baseline.figures = [figure for figure in baseline.figures if figure.name != "seconds"]
    assert times_to_quality([baseline], loss=0.01, retention=0.5) == []
