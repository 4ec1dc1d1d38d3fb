from __future__ import annotations

import pytest
from recorded_rows import recorded_row
from toys import toy_row

from benchmarks.rows.columns import Rows
from benchmarks.rows.row import FigureRecord
from harness.ranking.budgets.recorded_states import (
    RecordedState,
    anytime,
    covered,
    front_of,
    loss_at,
    n_states,
    recorded_states,
    retention_at,
    states_by,
    states_of,
)
from harness.ranking.budgets.steps import steps_with

STATES = [
    RecordedState(0.8, 0.01, 10.0),
    RecordedState(0.5, 0.03, 20.0),
    RecordedState(0.6, 0.05, 30.0),
    RecordedState(0.4, 0.09, 40.0),
]


def test_states_are_read_from_a_rows_figures_and_its_result_comes_last() -> None:
    states = recorded_states(recorded_row([(0.8, 0.01, 10.0), (0.5, 0.03, 20.0)], result=(0.8, 0.02)))
    assert [(state.retention, pytest.approx(state.loss), state.seconds) for state in states] == [
        (0.8, 0.01, 10.0), (0.5, 0.03, 20.0), (0.8, 0.02, 20.0),
    ]  # fmt: skip


def test_a_baseline_has_its_result_alone() -> None:
    assert recorded_states(recorded_row([], result=(0.3, 0.2))) == [RecordedState(0.3, 0.2, 0.5)]


def test_a_row_without_losses_on_select_has_no_states() -> None:
    assert recorded_states(toy_row()) == []


def test_states_of_many_rows_are_told_apart_and_counted() -> None:
    unfinished = FigureRecord(step=3, name="accuracy", value=0.5)
    searched = recorded_row([(0.8, 0.01, 10.0), (0.5, 0.03, 20.0)], result=(0.8, 0.02))
    searched = searched.model_copy(update={"figures": [unfinished, *searched.figures]})
    rows = Rows.of([recorded_row([], result=(0.3, 0.2)), searched, toy_row(), searched])
    assert [[state.retention for state in states] for states in states_of(rows)] == [
        [0.3],
        [0.8, 0.5, 0.8],
        [],
        [0.8, 0.5, 0.8],
    ]
    assert n_states(rows).tolist() == [1, 3, 0, 3]


def test_of_a_figure_that_was_reported_twice_the_last_value_counts() -> None:
    figures = [
        FigureRecord(step=step, name=name, value=value)
        for step, name, value in ((2, "x", 0.1), (1, "x", 0.2), (1, "y", 0.3), (2, "x", 0.4), (None, "x", 0.5))
    ]
    rows = Rows.of([toy_row(), toy_row().model_copy(update={"figures": figures})])
    both, either = steps_with(rows, "x", "y"), steps_with(rows, "x", optional=["y"])
    assert (both.row.tolist(), both.values["x"].tolist(), both.values["y"].tolist()) == ([1], [0.2], [0.3])
    assert either.values["x"].tolist() == [0.2, 0.4]
    assert either.values["y"].tolist() == [0.3, pytest.approx(float("nan"), nan_ok=True)]
    assert either.count(2).tolist() == [0, 2]
    assert either.number.tolist() == [1, 2]


def test_the_front_leaves_out_what_another_state_dominates() -> None:
    assert front_of([*STATES, STATES[0]]) == [STATES[3], STATES[1], STATES[0]]


def test_loss_and_retention_are_read_off_the_front() -> None:
    loss, retention = loss_at(STATES, 0.65), retention_at(STATES, 0.02)
    assert loss is not None
    assert retention is not None
    assert (loss.value, retention.value) == (pytest.approx(0.02), pytest.approx(0.65))
    assert loss.is_interpolated
    assert retention.is_interpolated


def test_the_hypervolume_is_what_the_states_dominate() -> None:
    assert covered(STATES[:2]) == pytest.approx(0.2 * 0.99 + 0.3 * 0.97)
    assert covered([RecordedState(1.0, 0.0, None)]) == 0.0


def test_only_states_that_were_reached_in_time_count() -> None:
    assert states_by([*STATES, RecordedState(0.1, 0.0, None)], 25.0) == STATES[:2]


def test_the_anytime_curve_rises_where_a_state_adds_something() -> None:
    curve = anytime(reversed(STATES))
    assert [seconds for seconds, _ in curve] == [10.0, 20.0, 40.0]
    assert [volume for _, volume in curve] == [pytest.approx(covered(STATES[:n])) for n in (1, 2, 4)]
