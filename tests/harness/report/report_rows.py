"""Rows that have something for every part of a report, with names that look like markup."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from toys import patch_record, toy_cell, toy_row
from trial_rows import rows_of

from benchmarks.cells import Cell
from benchmarks.rows.row import (
    CompositionRecord,
    ConfusionRecord,
    FigureRecord,
    LayerRecord,
    ModuleRecord,
    Record,
    Row,
    SensitivityRecord,
    StageRecord,
    State,
)
from harness.report.data import ReportData
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import Configurations, read_trials

METHODS = {"toy": 0.01, "<b>bold</b>": 0.05, "a [/x] \"&' {{ 1 }}": 0.2}
"""Labels, with their losses."""

CLASSES = ("<i>cat</i>", "</script><script>alert(1)</script>", "dog\u202e")

RecordT = TypeVar("RecordT", bound=Record)

_VALUES: dict[Any, Any] = {int: 10, float: 0.5, str: "x", bool: True, list[str]: ["x"], list[float]: [0.5]}


def filled(record: type[RecordT], **values: Any) -> RecordT:
    """Return a record whose other required fields have some value."""
    required = {name: field.annotation for name, field in record.model_fields.items() if field.is_required()}
    return record(**{**{name: _VALUES[annotation] for name, annotation in required.items()}, **values})


def confusion(target: str | None = None, *, right: int = 6) -> ConfusionRecord:
    """Return matrices of ten images per class, of which ``right`` are right after, and five before."""

    def matrix(diagonal: int) -> list[list[int]]:
        return [
            [diagonal if i == j else (10 - diagonal if j == (i + 1) % 3 else 0) for j in range(3)] for i in range(3)
        ]

    return ConfusionRecord(
        target_class=target, fusion=target and "gate", classes=[*CLASSES], before=matrix(5), after=matrix(right)
    )


def searched_row(label: str, loss: float, seed: int) -> Row:
    """Return a row of ``modularization`` with everything that a splitter can report."""
    row = toy_row(loss=loss + 0.001 * seed, cell=_cell("modularization", loss, seed), label=label)
    figures = [
        FigureRecord(step=step, name=name, value=value)
        for step in (1, 2, 3)
        for name, value in (
            ("accuracy", 0.8 + 0.03 * step),
            ("kernel_retention", 1 - 0.2 * step),
            ("seconds", 5.0 * step),
        )
    ]
    return row.model_copy(
        update={
            "select_base_accuracy": 0.92,
            "select_accuracy_loss": loss,
            "flops_retention_sum": 1.5,
            "layers": [LayerRecord(name=f"conv{n}", kernels=8, kept=[2 + n, 4, 8], union_kept=8) for n in range(2)],
            "modules": [
                filled(ModuleRecord, class_index=n, class_name=name, kernels=kernels)
                for n, (name, kernels) in enumerate(zip(CLASSES, (5, 8, 16), strict=True))
            ],
            "shared_kernels": [[2, 5], [8], []],
            "confusions": [confusion(right=4)],
            "figures": figures,
            "sensitivity": [
                SensitivityRecord(
                    layer="conv0",
                    kept_shares=[0.5, 1.0],
                    select_accuracy=[0.4, 0.9],
                    sensitive=seed == 0,
                    start_shares=[0.5],
                )
            ],
            "stages": [StageRecord(name=name, seconds=3.0, peak_memory_bytes=2**20) for name in ("train", "split")],
            "warnings": ["the <u>base</u> model is weak"] if seed == 0 else [],
        }
    )


def example_rows() -> list[Row]:
    """Return the rows of a report with every part but sweeps."""
    rows = [searched_row(label, loss, seed) for label, loss in METHODS.items() for seed in range(3)]
    for label, loss in METHODS.items():
        patches = [patch_record(name, fusion) for name in CLASSES for fusion in ("gate", "platt")]
        update = {"patches": patches, "confusions": [confusion(name) for name in CLASSES]}
        rows += [
            toy_row(loss=None, cell=_cell("patching", loss, 0), label=label).model_copy(update=update),
            toy_row(loss=None, cell=_cell("accuracy_composition", loss, 0), label=label).model_copy(
                update={"compositions": [filled(CompositionRecord, reach="intra", networks="simcnn")]}
            ),
        ]
    failed = toy_row(
        state=State.FAILED, kind="SplitFailedError", cell=_cell("modularization", METHODS["toy"], 7), label="toy"
    )
    scores = dict(zip(METHODS, ("head", "moments"), strict=False))
    rows = [row.model_copy(update={"score": scores.get(row.splitter_label or "", "logit")}) for row in rows]
    return [*rows, failed.model_copy(update={"reason": "no <em>weights</em>"})]


def store_of(folder: Path, rows: Iterable[Row]) -> ResultStore:
    """Return a store of rows."""
    store = ResultStore(folder)
    for row in rows:
        store.write(row)
    return store


def data_of(folder: Path, rows: Iterable[Row]) -> ReportData:
    """Return the data of a report on rows."""
    store = store_of(folder, rows)
    return ReportData(store, store.read())


def example_store(folder: Path) -> ResultStore:
    """Return a store of ``example_rows``."""
    return store_of(folder, example_rows())


def bowl_results(sweep: Sweep) -> SweepResults:
    """Return the results of a sweep over bowls, six trials of it."""
    points = [(0.1, 0.1), (0.3, 0.1), (0.5, 0.1), (0.7, 0.4), (0.9, 0.2), (0.2, 0.45)]
    rows = [row for at, (x, y) in enumerate(points) for row in rows_of(sweep, x=x, y=y, at=10.0 * at)]
    configurations = Configurations(sweep)
    return SweepResults("s", sweep, configurations, read_trials(sweep, configurations, rows), rows)


def _cell(scenario: str, loss: float, seed: int) -> Cell:
    return toy_cell(loss=loss, seed=seed).model_copy(update={"scenario": scenario})
