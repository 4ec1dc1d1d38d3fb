"""The leaderboard of the scenario ``modularization``."""

from __future__ import annotations

from benchmarks.boards.board import Board, Column, Sample
from benchmarks.records import Metrics

_MODULARIZATION = (
    "base_accuracy",
    "composed_accuracy",
    "accuracy_loss",
    "kernel_retention",
    "kernel_retention_union",
    "flops_retention",
    "param_retention",
    "jaccard_distance",
    "split_seconds",
)

MODULARIZATION = Board(
    record=Metrics,
    measures=_MODULARIZATION,
    columns=(
        Column("base_accuracy", "base", "%", spared=2),
        Column("composed_accuracy", "composed", "%"),
        Column("accuracy_loss", "loss", "points"),
        Column("kernel_retention", "kernels", "%"),
        Column("flops_retention", "FLOPs", "%", spared=1),
        Column("split_seconds", "split", "time", spared=3),
    ),
    sort="accuracy_loss",
    samples=lambda row: [Sample(str(row.seed), {}, {name: getattr(row, name) for name in _MODULARIZATION})],
)
"""What splitting costs and saves; also the board of scenarios that have none of their own."""
