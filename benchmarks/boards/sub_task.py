"""The leaderboard of the scenario ``sub_task``."""

from __future__ import annotations

from benchmarks.boards.board import COST_COLUMNS, COST_MEASURES, Board, Column, Sample
from benchmarks.rows.row import Row, SubTaskRecord

_MEASURES = ("composed_accuracy", "restricted_accuracy", "accuracy_loss", *COST_MEASURES)


def _tasks(row: Row) -> list[Sample]:
    return [
        Sample(
            "+".join(record.classes),
            {"n_classes": str(record.n_classes)},
            {name: getattr(record, name) for name in _MEASURES},
        )
        for record in row.sub_tasks
    ]


SUB_TASK = Board(
    record=SubTaskRecord,
    measures=_MEASURES,
    columns=(
        Column("restricted_accuracy", "base", "%", drop_priority=5),
        Column("composed_accuracy", "composed", "%"),
        Column("accuracy_loss", "loss", "points"),
        Column("param_retention_sum", "parameters", "%", drop_priority=4),
        *COST_COLUMNS,
    ),
    sort="accuracy_loss",
    samples=_tasks,
    variants=("n_classes",),
    subjects="tasks",
)
"""Modules of some classes against the base model restricted to them; intervals are over tasks."""
