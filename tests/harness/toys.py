"""Cells, rows and patches of toys, as a run would make them, and the folders of these tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell
from benchmarks.rows.row import Metrics, PatchRecord, Row, State
from harness.execution.attempt import Outcome, make_row
from harness.machines.provenance import provenance
from harness.suite_cell import SuiteCell

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

ORIGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_WHEN = ("before", "after")


def toy_cell(
    *,
    splitter: str = "toy",
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
    precision: str = "float32",
    compile: bool = False,
    **settings: Any,
) -> Cell:
    defaults = {"behaviour": "ok", "loss": 0.02, "folder": "", "like": None}
    return Cell.model_validate(
        {
            "scenario": "toy",
            "splitter": {"name": splitter, "settings": {**defaults, **settings}, "version": 3},
            "model": {"name": "simcnn"},
            "dataset": {"name": "digits"},
            "seed": seed,
            "threads": threads,
            "device": device,
            "precision": precision,
            "compile": compile,
        }
    )


def toy_item(*, label: str | None = None, **keys: Any) -> SuiteCell:
    return SuiteCell(toy_cell(**keys), label)


def toy_row(
    *,
    loss: float | None = 0.02,
    state: State = State.OK,
    kind: str | None = None,
    seconds: float = 2.0,
    age: float = 0.0,
    label: str | None = None,
    cell: Cell | None = None,
    **keys: Any,
) -> Row:
    """Return a row as a run would write it, ``age`` seconds before the others."""
    metrics = Metrics()
    if state is State.OK and loss is not None:
        metrics = Metrics(
            base_accuracy=0.9, composed_accuracy=0.9 - loss, accuracy_loss=loss, kernel_retention=0.4, split_seconds=1.0
        )
    outcome = Outcome(state, metrics, reason=None if state is State.OK else "a reason", kind=kind)
    return make_row(
        SuiteCell(cell or toy_cell(**keys), label),
        "toys",
        outcome,
        source=provenance(),
        started_at=ORIGIN - timedelta(seconds=age),
        seconds=seconds,
    )


def patch_record(target: str = "3", fusion: str = "platt", *, gain: float = 0.25, **keys: Any) -> PatchRecord:
    """Return a patch that raises F1 from a half by ``gain``."""
    figures = {"tc_precision": (0.5, 0.7), "tc_recall": (0.5, 0.8), "non_tc_accuracy": (0.9, 0.95)}
    values = {
        f"{name}_{when}": value for name, pair in figures.items() for when, value in zip(_WHEN, pair, strict=True)
    }
    f1 = {"tc_f1_before": 0.5, "tc_f1_after": 0.5 + gain, "tc_f1_gain": gain, "select_tc_f1_after": 0.9}
    overall = {
        "accuracy_before": 0.8,
        "accuracy_after": 0.9,
        "accuracy_gain": 0.1,
        "turned_right": 12,
        "turned_wrong": 2,
    }
    identity = {"weak_kind": "under_fitted", "target_class": target, "fusion": fusion}
    return PatchRecord(**{**values, **f1, **overall, **identity, **keys})


def patching_row(patches: Sequence[PatchRecord], *, splitter: str = "toy", seed: int = 0) -> Row:
    """Return a row of the scenario ``patching``."""
    cell = toy_cell(splitter=splitter, seed=seed).model_copy(update={"scenario": "patching"})
    return toy_row(loss=None, cell=cell).model_copy(update={"patches": list(patches)})
