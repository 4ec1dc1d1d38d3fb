"""The leaderboard of the scenario ``new_task``."""

from __future__ import annotations

from benchmarks.boards.board import COST_COLUMNS, COST_MEASURES, Board, Column
from benchmarks.boards.samples import RecordSamples
from benchmarks.rows.row import NewTaskRecord

_MEASURES = (
    "composed_accuracy",
    "scratch_accuracy",
    "last_layer_accuracy",
    "gain_over_scratch",
    "gain_over_last_layer",
    "composed_images",
    "scratch_images",
    "last_layer_images",
    "composed_seconds",
    "scratch_seconds",
    "last_layer_seconds",
    *COST_MEASURES,
)


NEW_TASK = Board(
    record=NewTaskRecord,
    measures=_MEASURES,
    columns=(
        Column("composed_accuracy", "composed", "%"),
        Column("scratch_accuracy", "scratch", "%"),
        Column("last_layer_accuracy", "last layer", "%", drop_priority=6),
        Column("gain_over_scratch", "gain", "points"),
        Column("scratch_images", "images", "count", drop_priority=5),
        Column("scratch_seconds", "time", "time", drop_priority=4),
        *COST_COLUMNS,
    ),
    sort="gain_over_scratch",
    samples=RecordSamples("new_tasks", _MEASURES, subject="classes", variants=("n_classes", "images_per_class")),
    variants=("n_classes", "images_per_class"),
    subjects="tasks",
)
"""Modules of two base models against training: means over seeds and tasks, intervals over tasks."""
