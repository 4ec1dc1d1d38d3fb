"""Comparisons of two splitters: a table per section, notes, and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from harness.ranking.over_cells.overview import Overview
from harness.ranking.paired.comparison import MIN_PAIRS, MIN_SIGNED_RANKS
from harness.ranking.paired.head_to_head import HeadToHead, verdict
from harness.views.leaderboards.overview import overview_object, overview_title, pair_sentence
from harness.views.leaderboards.tables import Document, TextTable
from harness.views.quantities import format_of

COMPARISON_NOTE = (
    "difference: first minus second, ± half a 95 % t-interval; better: share of seeds (classes, tasks) on which the "
    f"first is better; p: paired t-test, from {MIN_PAIRS} pairs on, which decides; Wilcoxon: p of the signed-rank "
    f"test, from {MIN_SIGNED_RANKS} pairs on; both Holm-corrected."
)


def comparison_document(pairs: Sequence[HeadToHead], overall: Sequence[Overview], first: str, second: str) -> Document:
    """Return comparisons for every output format.

    Args:
        pairs: The comparisons.
        overall: The two over all cells.
        first: What the first one was called in the question.
        second: The same for the second one.
    """
    over_cells = [found for found in overall if len(found.cells) > 1 and len(found.methods) == 2]
    outcome = verdict(list(pairs), first, second)
    return Document(
        blocks=[
            *map(_table, pairs),
            *([COMPARISON_NOTE] if pairs else []),
            *(f"{overview_title(both)}, {len(both.cells)} cells: {pair_sentence(both)}" for both in over_cells),
            outcome,
        ],
        values={
            "first": first,
            "second": second,
            "verdict": outcome,
            "comparisons": list(map(_object, pairs)),
            "over_cells": list(map(overview_object, over_cells)),
        },
        records=[_record(pair) for pair in pairs],
    )


def _table(pair: HeadToHead) -> TextTable:
    """Return the values of each seed, class or task, and a last line of their means."""
    board, comparison = pair.section.board, pair.comparison
    form = format_of(board, pair.section.sort)
    variant = ", ".join(f"{key} {value}" for key, value in pair.first.variant.items())
    lines = [
        [subject, form.text(ours), form.text(theirs), form.text(ours - theirs), "", "", ""]
        for subject, ours, theirs in zip(pair.subjects, comparison.first, comparison.second, strict=True)
    ]
    half_width = comparison.difference.half_width
    lines.append(
        [
            "mean of pairs",
            *(form.text(fmean(values)) for values in (comparison.first, comparison.second)),
            form.text(comparison.difference.mean) + ("" if half_width is None else f" ±{form.text(half_width)}"),
            f"{100 * comparison.probability_of_superiority:.0f} %",
            *("–" if value is None else f"{value:.3g}" for value in (pair.p_value, pair.wilcoxon_p_value)),
        ]
    )
    subjects = f"{board.subjects} ({form.unit})" if form.unit else board.subjects
    return TextTable(
        f"{pair.section.title}{f' · {variant}' if variant else ''} · {pair.section.sort}",
        [subjects, pair.first.label, pair.second.label, "difference", "better", "p", "Wilcoxon"],
        "lrrrrrr",
        lines,
        bold=frozenset({len(lines) - 1}),
    )


def _object(pair: HeadToHead) -> dict[str, Any]:
    """Return a comparison as plain values: fractions, differences as first minus second."""
    return {
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
        "wilcoxon_p_value": pair.wilcoxon_p_value,
        "significant": pair.is_significant,
    }


def _record(pair: HeadToHead) -> dict[str, Any]:
    """Return a comparison as a line of CSV: the means instead of the values, the variant as text."""
    values = _object(pair)
    return values | {
        "variant": " ".join(f"{key}={value}" for key, value in pair.first.variant.items()),
        "first": fmean(pair.comparison.first),
        "second": fmean(pair.comparison.second),
    }
