"""The leaderboard of the scenario ``selection``: splitting as select images see it."""

from __future__ import annotations

from benchmarks.boards.board import Board, Column, Sample
from benchmarks.records import Metrics

_SELECTION = (
    "select_base_accuracy",
    "select_composed_accuracy",
    "select_accuracy_loss",
    "kernel_retention",
    "kernel_retention_union",
    "flops_retention",
    "param_retention",
    "jaccard_distance",
    "split_seconds",
)

SELECTION = Board(
    record=Metrics,
    measures=_SELECTION,
    columns=(
        Column("select_base_accuracy", "base", "%", spared=2),
        Column("select_composed_accuracy", "composed", "%"),
        Column("select_accuracy_loss", "loss", "points"),
        Column("kernel_retention", "kernels", "%"),
        Column("flops_retention", "FLOPs", "%", spared=1),
        Column("split_seconds", "split", "time", spared=3),
    ),
    sort="select_accuracy_loss",
    samples=lambda row: [Sample(str(row.seed), {}, {name: getattr(row, name) for name in _SELECTION})],
)
"""What sweeps choose by."""
