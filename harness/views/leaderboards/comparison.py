"""Comparisons of two splitters, for the terminal and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.ranking.comparison import MIN_PAIRS
from harness.ranking.head_to_head import HeadToHead, verdict
from harness.text import printable

_NOTE = (
    "difference: first minus second, ± half a 95 % t-interval; better: share of seeds (classes, tasks) on which the "
    f"first is better; p: paired t-test, Holm-corrected, from {MIN_PAIRS} pairs on."
)


def comparison_view(pairs: Sequence[HeadToHead], first: str, second: str) -> RenderableType:
    """Return a table per section, and the verdict."""
    parts: list[RenderableType] = []
    for pair in pairs:
        variant = ", ".join(f"{key} {value}" for key, value in pair.first.variant.items())
        title = f"{pair.section.title}{f' · {variant}' if variant else ''} · {pair.section.sort}"
        parts += [Text(title, style="bold"), _table(pair)]
    if pairs:
        parts.append(Text(_NOTE, style="dim"))
    return Group(*parts, Text(verdict(list(pairs), first, second), style="bold"))


def _table(pair: HeadToHead) -> Table:
    column = next(column for column in pair.section.board.columns if column.measure == pair.section.sort)
    scale, digits = (100, 2) if column.unit in ("points", "%") else (1, 3)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(f"{pair.section.board.subjects} ({column.unit})", overflow="fold")
    for name in (pair.first.label, pair.second.label, "difference", "better", "p"):
        table.add_column(printable(name), justify="right")
    comparison = pair.comparison
    for subject, ours, theirs in zip(pair.subjects, comparison.first, comparison.second, strict=True):
        table.add_row(subject, *(f"{scale * value:.{digits}f}" for value in (ours, theirs, ours - theirs)), "", "")
    difference = comparison.difference
    interval = "" if difference.half_width is None else f" ±{scale * difference.half_width:.{digits}f}"
    table.add_row(
        "mean of pairs",
        *(f"{scale * sum(values) / len(values):.{digits}f}" for values in (comparison.first, comparison.second)),
        f"{scale * difference.mean:.{digits}f}{interval}",
        f"{100 * comparison.probability_of_superiority:.0f} %",
        "–" if pair.p_value is None else f"{pair.p_value:.3g}",
        style="bold",
    )
    return table


def comparison_objects(pairs: Sequence[HeadToHead], first: str, second: str) -> dict[str, Any]:
    """Return comparisons as plain values, for JSON: fractions, differences as first minus second."""
    return {
        "first": first,
        "second": second,
        "verdict": verdict(list(pairs), first, second),
        "comparisons": [
            {
                "section": pair.section.title,
                "scenario": pair.section.scenario,
                "variant": dict(pair.first.variant),
                "measure": pair.section.sort,
                "higher_is_better": pair.comparison.higher_is_better,
                "labels": [pair.first.label, pair.second.label],
                "subjects": list(pair.subjects),
                "first": list(pair.comparison.first),
                "second": list(pair.comparison.second),
                "difference": pair.comparison.difference.mean,
                "half_width": pair.comparison.difference.half_width,
                "probability_first_is_better": pair.comparison.probability_of_superiority,
                "p_value": pair.p_value,
                "significant": pair.is_significant,
            }
            for pair in pairs
        ],
    }
