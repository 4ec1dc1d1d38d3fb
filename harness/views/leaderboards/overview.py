"""Methods compared over cells: tables of mean ranks and of pairs, and plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_lowercase
from typing import Any

from harness.ranking.over_cells.overview import CellValues, Overview
from harness.ranking.paired.comparison import MIN_PAIRS, MIN_SIGNED_RANKS, SIGNIFICANCE
from harness.views.leaderboards.entry_text import ARROWS
from harness.views.leaderboards.tables import Document, TextTable
from harness.views.quantities import format_of

SIGNIFICANT_MARK = "*"

_PAIR = 2
"""Two methods need a sentence, not a table of pairs."""

_RANK_LEGEND = (
    "mean rank: over cells (base model and data set), by means over the seeds that all methods were run on; a method "
    "with a failed seed ranks behind those without."
)
_IQM_LEGEND = (
    "IQM: mean of the middle half of all runs of all cells, with its 95 % stratified bootstrap interval where there "
    "are enough seeds."
)
_PAIRS_LEGEND = (
    "better than: how often the method of the row has the better value than that of the column, ties counted half; "
    f"{SIGNIFICANT_MARK} the two differ (p < {SIGNIFICANCE:g}, Holm-corrected)."
)


def overview_document(found: Sequence[Overview]) -> Document:
    """Return overviews for every output format."""
    blocks: list[TextTable | str] = []
    for overview in found:
        blocks += [*_tables(overview), *_notes(overview)]
    if any(len(overview.cells) > 1 for overview in found):
        blocks.append(_RANK_LEGEND)
    if any(len(overview.methods) > _PAIR for overview in found):
        blocks.append(_PAIRS_LEGEND)
    return Document(
        blocks=[*blocks, _IQM_LEGEND] if found else ["No methods were run on the same seeds."],
        values=list(map(overview_object, found)),
        records=[
            {"overview": overview_title(overview), "measure": overview.section.sort, **values}
            for overview in found
            for values in _method_objects(overview)
        ],
    )


def _tables(found: Overview) -> list[TextTable]:
    """Return a table of the methods, and one of their pairs if there are several."""
    names = [f"{number} {found.methods[method]}" for number, method in enumerate(found.order, start=1)]
    return [_methods_table(found, names), *([_pairs_table(found, names)] if len(names) > _PAIR else [])]


def _methods_table(found: Overview, names: list[str]) -> TextTable:
    section, several_cells, groups = found.section, len(found.cells) > 1, _groups(found)
    unit = format_of(section.board, section.sort).unit
    cells = f"{len(found.cells)} cell{'s' if several_cells else ''}"
    return TextTable(
        f"{overview_title(found)} · {section.sort} {ARROWS[section.board.better(section.sort)]} · {cells}",
        [
            "method",
            *(["mean rank"] if several_cells else []),
            f"IQM, {unit}" if unit else "IQM",
            "not reached" if section.board.absent_is_failure else "failed",
            *(["group"] if groups else []),
        ],
        "l" + "r" * several_cells + "rr" + "l" * bool(groups),
        [
            [
                name,
                *([f"{found.mean_ranks[method]:.2f}"] if several_cells else []),
                _iqm_text(found, method),
                str(found.n_failed(method)),
                *([groups[method]] if groups else []),
            ]
            for name, method in zip(names, found.order, strict=True)
        ],
    )


def overview_title(found: Overview) -> str:
    """Return the scenario of an overview, and its variant."""
    variant = (f"{key.replace('_', ' ')} {value}" for key, value in found.variant.items())
    return " · ".join([found.section.scenario, *variant])


def _groups(found: Overview) -> dict[int, str]:
    """Return a letter for each clique of a method."""
    letters = [letter for _, letter in zip(found.cliques, ascii_lowercase, strict=False)]
    return {
        method: "".join(letter for clique, letter in zip(found.cliques, letters, strict=False) if method in clique)
        for method in (found.order if found.cliques else ())
    }


def _iqm_text(found: Overview, method: int) -> str:
    interval = found.iqm(method)
    if interval is None:
        return "–"
    text = format_of(found.section.board, found.section.sort).text
    if interval.low is None or interval.high is None:
        return text(interval.value)
    return f"{text(interval.value)} [{text(interval.low)}, {text(interval.high)}]"


def _pairs_table(found: Overview, names: list[str]) -> TextTable:
    texts = {}
    for pair in found.pairs:
        mark = SIGNIFICANT_MARK if pair.is_significant else ""
        texts[pair.first, pair.second] = f"{100 * pair.probability:.0f}{mark}"
        texts[pair.second, pair.first] = f"{100 * (1 - pair.probability):.0f}{mark}"
    return TextTable(
        f"better than, % of {found.section.board.subjects}",
        ["method", *(str(number) for number, _ in enumerate(names, start=1))],
        "l" + "r" * len(names),
        [
            [name, *(texts.get((method, other), "–") for other in found.order)]
            for name, method in zip(names, found.order, strict=True)
        ],
    )


def _notes(found: Overview) -> Iterator[str]:
    """Yield what the tests found, and who was left out."""
    yield f"Cells: {', '.join(f'{cell.title} ({_count(found, cell)})' for cell in found.cells)}."
    test = found.friedman
    if test is not None:
        outcome = "ranks differ" if test.is_significant else "no difference between ranks is significant"
        groups = "; methods that share a group do not differ significantly" if test.is_significant else ""
        yield (
            f"Friedman's test: χ² = {test.statistic:.2f}, p = {test.p_value:.3g}: {outcome}. "
            f"Nemenyi's critical difference: {test.critical_difference:.2f} ranks (p < {SIGNIFICANCE:g}){groups}."
        )
    if len(found.methods) == _PAIR:
        yield pair_sentence(found)
    elif found.pair_test:
        yield f"Pairs: {found.pair_test}."
    if not found.has_repetitions:
        yield "A single seed in some cell: nothing is tested."
    elif found.pair_test is None:
        yield f"Pairs are not tested: that takes {MIN_PAIRS} seeds of a single cell, or {MIN_SIGNED_RANKS} cells."
    if found.left_out:
        yield f"Left out, as not run in every cell: {', '.join(found.left_out)}."


def _count(found: Overview, cell: CellValues) -> str:
    number, subjects = len(cell.subjects), found.section.board.subjects
    singular = {"seeds": "seed", "target classes": "target class", "tasks": "task"}[subjects]
    return f"{number} {subjects if number > 1 else singular}"


def pair_sentence(found: Overview) -> str:
    """Return how two methods compare over all cells, and which is better if the test separates them."""
    (pair,) = found.pairs
    first, second = found.methods[pair.first], found.methods[pair.second]
    subjects = f"{100 * pair.probability:.0f} % of {found.section.board.subjects}"
    share = f"{first} has the better value on {subjects}, ties counted half"
    if pair.p_value is None:
        return f"{first} and {second} are not tested; {share}."
    test = f"{found.pair_test}: p = {pair.p_value:.3g}"
    if pair.is_significant:
        return f"{first} is better than {second} ({test}); {share}."
    return f"{first} and {second} do not differ significantly ({test}); {share}."


def overview_object(found: Overview) -> dict[str, Any]:
    """Return an overview as plain values, for JSON: fractions; p-values of pairs are Holm-corrected."""
    test = found.friedman
    return {
        "scenario": found.section.scenario,
        "variant": dict(found.variant),
        "measure": found.section.sort,
        "higher_is_better": found.higher_is_better,
        "cells": [{"section": cell.title, "subjects": list(cell.subjects)} for cell in found.cells],
        "methods": list(_method_objects(found)),
        "friedman": None
        if test is None
        else {
            "statistic": test.statistic,
            "p_value": test.p_value,
            "critical_difference": test.critical_difference,
            "groups": [[found.methods[method] for method in clique] for clique in found.cliques],
        },
        "pair_test": found.pair_test,
        "pairs": [
            {
                "first": found.methods[pair.first],
                "second": found.methods[pair.second],
                "probability_first_is_better": pair.probability,
                "p_value": pair.p_value,
                "significant": pair.is_significant,
            }
            for pair in found.pairs
        ],
        "left_out": list(found.left_out),
    }


def _method_objects(found: Overview) -> Iterator[dict[str, Any]]:
    """Yield plain values per method, the best mean rank first."""
    for method in found.order:
        interval = found.iqm(method)
        yield {
            "method": found.methods[method],
            "mean_rank": float(found.mean_ranks[method]),
            "iqm": None if interval is None else interval.value,
            "iqm_low": None if interval is None else interval.low,
            "iqm_high": None if interval is None else interval.high,
            "n_failed": found.n_failed(method),
        }
