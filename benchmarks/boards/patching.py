"""The leaderboard of the scenario ``patching``."""

from __future__ import annotations

from benchmarks.boards.board import Board, Column
from benchmarks.boards.samples import RecordSamples
from benchmarks.rows.row import PatchRecord

_MEASURES = (
    "tc_precision_before",
    "tc_precision_after",
    "tc_precision_gain",
    "tc_recall_before",
    "tc_recall_after",
    "tc_recall_gain",
    "tc_f1_before",
    "tc_f1_after",
    "tc_f1_gain",
    "non_tc_accuracy_before",
    "non_tc_accuracy_after",
    "non_tc_accuracy_gain",
    "accuracy_before",
    "accuracy_after",
    "accuracy_gain",
    "turned_right",
    "turned_wrong",
    "select_tc_f1_gain",
)


PATCHING = Board(
    record=PatchRecord,
    measures=_MEASURES,
    columns=(
        Column("tc_precision_gain", "precision gain", "points", drop_priority=4),
        Column("tc_recall_gain", "recall gain", "points", drop_priority=3),
        Column("tc_f1_before", "F1 before", "%", drop_priority=1),
        Column("tc_f1_gain", "F1 gain", "points"),
        Column("non_tc_accuracy_gain", "others, gain", "points", drop_priority=5),
        Column("accuracy_gain", "all, gain", "points", drop_priority=2),
    ),
    sort="tc_f1_gain",
    samples=RecordSamples("patches", _MEASURES, subject="target_class", variants=("weak_kind", "fusion")),
    variants=("weak_kind", "fusion"),
    subjects="target classes",
)
"""What patches do to weak models, after minus before: means over seeds and classes, intervals over target classes."""
