"""Means over seeds, as the tables of docs/results.md show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.ranking.statistics import Estimate


def means(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss with half of its 95 % t-interval in points, kernels and FLOPs of all modules in percent."""
    loss = Estimate.of([100 * row["accuracy_loss"] for row in rows])
    spread = "" if loss.half_width is None else f" ±{loss.half_width:.2f}"
    kernels, flops = (100 * fmean(row[name] for row in rows) for name in ("kernel_retention", "flops_retention_sum"))
    return f"{loss.mean:.2f}{spread} | {kernels:.1f} | {flops:.0f}"


def scored_means(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the kinds of score, the number of seeds, and ``means``."""
    return f"{', '.join(sorted({row['score'] for row in rows}))} | {len(rows)} | {means(rows)}"
