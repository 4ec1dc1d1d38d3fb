"""The leaderboards of the scenarios ``modularization`` and ``selection``: the same figures on test, and on select."""

from __future__ import annotations

from typing import Literal

from benchmarks.boards.board import Board, Column
from benchmarks.boards.samples import SeedSamples
from benchmarks.rows.row import Metrics


def _board(prefix: Literal["", "select_"]) -> Board:
    """Return the board with the accuracies on test, or on select."""
    base, composed, loss = (f"{prefix}{name}" for name in ("base_accuracy", "composed_accuracy", "accuracy_loss"))
    measures = (
        base,
        composed,
        loss,
        "kernel_retention",
        "kernel_retention_union",
        "flops_retention",
        "param_retention",
        "jaccard_distance",
        "split_seconds",
        "flops_retention_sum",
    )
    return Board(
        record=Metrics,
        measures=measures,
        columns=(
            Column(base, "base", "%", drop_priority=1),
            Column(composed, "composed", "%"),
            Column(loss, "loss", "points"),
            Column("kernel_retention", "kernels", "%"),
            Column("flops_retention", "FLOPs", "%", drop_priority=2),
            Column("flops_retention_sum", "sum", "%", drop_priority=4),
            Column("split_seconds", "split", "time", drop_priority=3),
        ),
        sort=loss,
        samples=SeedSamples(measures),
    )


MODULARIZATION = _board("")
"""The cost and savings of splitting; also the default board of scenarios."""

SELECTION = _board("select_")
"""The same on select images, for the choices of sweeps."""
