"""The leaderboard of the scenario ``sub_task``."""

from __future__ import annotations

from benchmarks.boards.board import COST_COLUMNS, COST_MEASURES, Board, Column
from benchmarks.boards.samples import RecordSamples
from benchmarks.rows.row import SubTaskRecord

_MEASURES = ("composed_accuracy", "restricted_accuracy", "accuracy_loss", *COST_MEASURES)


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
    samples=RecordSamples("sub_tasks", _MEASURES, subject="classes", variants=("n_classes",)),
    variants=("n_classes",),
    subjects="tasks",
)
"""Modules of some classes against the base model restricted to them; intervals are over tasks."""
