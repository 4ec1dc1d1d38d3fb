"""Means over seeds, as the tables of docs/results.md show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.ranking.statistics import Estimate


def in_points(values: Iterable[float]) -> str:
    """Return the mean of fractions, one per seed, with half of its 95 % t-interval, in points."""
    estimate = Estimate.of([100 * value for value in values])
    return f"{estimate.mean:.2f}" + ("" if estimate.half_width is None else f" ±{estimate.half_width:.2f}")


def means(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss with half of its 95 % t-interval in points, kernels and FLOPs of all modules in percent."""
    kernels, flops = (100 * fmean(row[name] for row in rows) for name in ("kernel_retention", "flops_retention_sum"))
    return f"{in_points(row['accuracy_loss'] for row in rows)} | {kernels:.1f} | {flops:.0f}"


def scored_means(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the kinds of score, the number of seeds, and ``means``."""
    return f"{', '.join(sorted({row['score'] for row in rows}))} | {len(rows)} | {means(rows)}"
