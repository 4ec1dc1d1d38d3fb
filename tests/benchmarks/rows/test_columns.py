from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.boards import BOARDS, PATCHING, SUB_TASK, Sample
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import PatchRecord, Row, State, SubTaskRecord
from benchmarks.scenarios.scenario import SCENARIOS


def row(seed: int, **values: Any) -> Row:
    texts = dict.fromkeys(name for name, field in Row.model_fields.items() if field.is_required())
    known: dict[str, Any] = {
        **{name: name for name in texts},
        "state": State.OK,
        "seed": seed,
        "threads": 1,
        "seconds": 1.0,
        "started_at": datetime(2026, 1, 1, tzinfo=timezone.utc),
    }
    return Row(**{**known, **values})


def patch(target: str, gain: float, **values: Any) -> PatchRecord:
    numbers = {name: 1 for name, field in PatchRecord.model_fields.items() if field.is_required()}
    return PatchRecord(
        **{**numbers, "weak_kind": "w", "target_class": target, "fusion": "f", "tc_f1_gain": gain, **values}
    )


@pytest.mark.parametrize("max_slices", [0, 50])
def test_rows_are_the_models_that_they_were_made_of(monkeypatch: pytest.MonkeyPatch, max_slices: int) -> None:
    monkeypatch.setattr("benchmarks.rows.columns._MAX_SLICES", max_slices)
    models = [row(3), row(1, state=State.FAILED, reason="a reason"), row(2, patches=[patch("cat", 0.5)])]
    rows = Rows.of(models)
    assert rows == models
    assert (rows[1], list(rows[1:])) == (models[1], models[1:])
    assert rows[-1] == models[-1]
    assert rows.sorted_by("seed") == [models[1], models[2], models[0]]
    assert rows.filter(rows.equal("state", "ok")) == [models[0], models[2]]


def test_where_null_is_no_value_the_default_holds() -> None:
    table = pa.table(
        {"gpu_share": pa.nulls(2, pa.float64()), "accuracy_loss": pa.array([None, 0.25]), "warnings": [None, ["w"]]}
    )
    rows = Rows(table).take(np.array([1, 0]))
    assert rows.numbers("gpu_share").tolist() == rows.values("gpu_share") == [0.0, 0.0]
    np.testing.assert_equal(rows.numbers("accuracy_loss"), [0.25, np.nan])
    assert rows.values("accuracy_loss") == [0.25, None]
    assert rows.values("warnings") == [["w"], []]


def test_records_are_samples_of_their_rows() -> None:
    patches = [[patch("cat", 0.5), patch("dog", 0.25, fusion="g", tc_recall_gain=0.125)], [], [patch("dog", 0.75)]]
    samples = PATCHING.samples_of(Rows.of([row(seed, patches=of_row) for seed, of_row in enumerate(patches)]))
    assert samples.row.tolist() == [0, 0, 2]
    assert [samples.subjects[number] for number in samples.subject] == ["cat", "dog", "dog"]
    assert [samples.variants[number] for number in samples.variant] == [("w", "f"), ("w", "g"), ("w", "f")]
    assert samples.values["tc_f1_gain"].tolist() == [0.5, 0.25, 0.75]
    np.testing.assert_equal(samples.values["tc_recall_gain"], [np.nan, 0.125, np.nan])


def test_a_task_is_named_by_its_classes() -> None:
    numbers = {name: 1 for name, field in SubTaskRecord.model_fields.items() if field.is_required()}
    task = SubTaskRecord(**{**numbers, "classes": ["a", "b"], "n_classes": 2})
    samples = SUB_TASK.samples_of(Rows.of([row(0, sub_tasks=[task])]))
    assert (list(samples.subjects), list(samples.variants)) == (["a+b"], [("2",)])


def test_a_board_may_look_at_one_row_at_a_time() -> None:
    def patches(row: Row) -> list[Sample]:
        return [
            Sample(patch.target_class, {"fusion": patch.fusion, "weak_kind": patch.weak_kind}, patch.model_dump())
            for patch in row.patches
        ]

    rows = Rows.of([row(0, patches=[patch("cat", 0.5), patch("dog", 0.25, fusion="g", tc_recall_gain=0.125)]), row(1)])
    found, expected = (board.samples_of(rows) for board in (replace(PATCHING, samples=patches), PATCHING))
    for measure in PATCHING.measures:
        np.testing.assert_equal(found.values[measure], expected.values[measure])
    assert (found.row.tolist(), found.subject.tolist()) == (expected.row.tolist(), expected.subject.tolist())
    assert [found.variants[number] for number in found.variant] == [("w", "f"), ("w", "g")]


def test_boards_are_those_of_their_scenarios() -> None:
    assert {name: SCENARIOS.get(name).board for name in BOARDS} == BOARDS
