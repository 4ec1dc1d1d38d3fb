from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from toys import toy_item

from benchmarks.rows.row import Metrics, State
from harness.execution.attempt import Surroundings, run_attempt
from harness.execution.observers import plain_progress
from harness.runs.activity import Activity
from splitters.methods.protocol import Progress

FOREIGN: list[tuple[tuple[Any, ...], Progress]] = [
    (("search", 2.5, 7.0), Progress("search", 2, 7)),
    (("search", np.float32(3), torch.tensor(4)), Progress("search", 3, 4)),
    (("search", float("nan"), float("inf")), Progress("search", 0, None)),
    ((None, None, None, None), Progress("None", 0)),
    (("\ud800", 10**400), Progress(r"\ud800", 0)),
    ((["search"], "1"), Progress("['search']", 0)),
    (
        ("search", 1, 2, {"a": torch.tensor([0.5]), "b": Fraction(1, 4), "c": np.inf, "d": "0.5", "e": None, 6: 7}),
        Progress("search", 1, 2, {"a": 0.5, "b": 0.25, "6": 7.0}),
    ),
    (("search", 1, 2, {"a": torch.ones(2)}), Progress("search", 1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("made", "plain"), FOREIGN)
def test_whatever_a_method_reports_becomes_text_and_finite_numbers(made: tuple[Any, ...], plain: Progress) -> None:
    found = plain_progress(Progress(*made))
    assert found == plain
    values = [found.step, found.total, *found.metrics.values()]
    assert {type(value) for value in values} <= {int, float, type(None)}


def test_the_record_of_a_run_can_be_read_whatever_a_method_reports(surroundings: Surroundings) -> None:
    item, read = toy_item(), []
    activity = Activity(to_do=1)
    activity.start(item)

    def record(progress: Progress) -> None:
        activity.report(item, progress)
        read.append(Activity.model_validate_json(activity.model_dump_json()).running[item.cell.cell_id])

    def work(scenario: Any, cell: Any, workspace: Any) -> Metrics:
        for made, _ in FOREIGN:
            workspace.progress(Progress(*made))
        return Metrics()

    row = run_attempt(item, surroundings, device="cpu", progress=record, work=work)
    assert row.state is State.OK
    assert [(cell.stage, cell.step, cell.total) for cell in read[-len(FOREIGN) :]] == [
        (plain.stage, plain.step, plain.total) for _, plain in FOREIGN
    ]
