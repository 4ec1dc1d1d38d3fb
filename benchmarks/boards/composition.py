"""The leaderboard of the scenario ``accuracy_composition``."""

from __future__ import annotations

from benchmarks.boards.board import COST_COLUMNS, COST_MEASURES, Board, Column
from benchmarks.boards.samples import RecordSamples
from benchmarks.rows.row import CompositionRecord

_MEASURES = (
    "composed_accuracy",
    "best_base_accuracy",
    "mean_base_accuracy",
    "ensemble_accuracy",
    "best_module_set_accuracy",
    "gain_over_best_base",
    "gain_over_mean_base",
    "gain_over_ensemble",
    "gain_over_module_set",
    *COST_MEASURES,
)


COMPOSITION = Board(
    record=CompositionRecord,
    measures=_MEASURES,
    columns=(
        Column("composed_accuracy", "composed", "%"),
        Column("best_base_accuracy", "best base", "%", drop_priority=8),
        Column("mean_base_accuracy", "mean base", "%", drop_priority=4),
        Column("ensemble_accuracy", "ensemble", "%", drop_priority=7),
        Column("best_module_set_accuracy", "one base's", "%", drop_priority=5),
        Column("gain_over_best_base", "gain", "points"),
        *COST_COLUMNS,
    ),
    sort="gain_over_best_base",
    samples=RecordSamples("compositions", _MEASURES, variants=("reach", "networks")),
    variants=("reach", "networks"),
)
"""Each class's best module of several base models, against the base models alone and together."""
