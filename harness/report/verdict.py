"""What the numbers say, in words: made from ranks, intervals and paired tests, never from means alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from benchmarks.boards import Column
from benchmarks.rows.row import State
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Section
from harness.ranking.over_cells.overview import overviews
from harness.ranking.paired.ranks import TEST, ranked_with_first, separated_from_first
from harness.report.data import ReportData
from harness.suite_cell import row_title
from harness.views.leaderboards.entry_text import described_variant, measure_text
from harness.views.leaderboards.overview import overview_title
from harness.views.quantities import duration_text

_COSTS = ("kernel_retention", "flops_retention_sum")

_MEASURES = {"tc_f1_gain": "gain in the target class’s F1"}
"""Measures in words, where the name alone would not do."""

_MAX_NAMES = 6


@dataclass(frozen=True)
class Verdict:
    """The verdict on one table of the leaderboard.

    Args:
        title: The table's title.
        sentences: What can be said.
    """

    title: str
    sentences: tuple[str, ...]


def overview(data: ReportData) -> list[str]:
    """Return what was run, in a few sentences."""
    rows = data.rows
    if not rows:
        return ["There are no rows yet."]
    states = Counter(rows.values("state"))
    counts = ", ".join(f"{n:,} {state.value.replace('_', ' ')}" for state in State if (n := states[state.value]))
    suites, models, datasets, seeds = (sorted(set(rows.values(name))) for name in ("suite", "model", "dataset", "seed"))
    began, last = (found.as_py() for found in pc.min_max(rows.arrow("started_at")).values())
    days = f"on {began:%Y-%m-%d}" if began.date() == last.date() else f"from {began:%Y-%m-%d} to {last:%Y-%m-%d}"
    return [
        f"{_count(len(rows), 'cell')} of {_names(suites)}: {counts}.",
        f"{_count(len(data.methods.names), 'method')} ({_names(data.methods.names)}) on "
        f"{_count(len(models), 'base model')} ({_names(models)}) and "
        f"{_count(len(datasets), 'data set')} ({_names(datasets)}), "
        f"{_count(len(seeds), 'seed')} ({_names([str(seed) for seed in seeds])}).",
        f"Run {days}, {duration_text(sum(rows.values('seconds')))} of work in all.",
    ]


def verdicts(data: ReportData) -> list[Verdict]:
    """Return the verdict on each scenario with several cells, and on each table of the leaderboard."""
    sections = [Verdict(section.title, tuple(_sentences(section))) for section in data.sections]
    return [*_over_all(data), *sections]


def caveats(data: ReportData) -> list[str]:
    """Return what a reader should know before quoting a number."""
    lines = []
    states = data.rows.values("state")
    if failed := [row for row, state in enumerate(states) if not State(state).is_final]:
        shown = _names([row_title(row) for row in data.models(failed[:_MAX_NAMES])], "; ", n=len(failed))
        lines.append(f"{_count(len(failed), 'cell')} did not succeed and {_have(failed)} no part in any mean: {shown}.")
    if warned := [texts for texts in data.rows.values("warnings") if texts]:
        lines.append(f"{_count(len(warned), 'cell')} succeeded with warnings, listed under “Failures and warnings”.")
    few = [text for section in data.sections if (text := _unranked(section))]
    if few:
        lines.append(f"Too few seeds, classes or tasks for a test: {_names(few, '; ')}.")
    if data.contents.damaged:
        damaged = data.contents.damaged
        lines.append(f"{_count(len(damaged), 'file')} could not be read and {_have(damaged)} no part.")
    return lines


def _over_all(data: ReportData) -> Iterable[Verdict]:
    """Yield the verdict on all cells of each scenario that has several."""
    for overview in overviews(data.board):
        if len(overview.cells) < 2 or len(overview.methods) < 2:
            continue
        ranks = [f"{overview.methods[method]} {overview.mean_ranks[method]:.2f}" for method in overview.order]
        sentences = [f"Mean ranks over {len(overview.cells)} cells: {_names(ranks)}."]
        test = overview.friedman
        if test is None:
            sentences.append("There are too few methods or seeds for a test over cells.")
        elif not test.is_significant:
            sentences.append(f"The ranks do not tell the methods apart (Friedman p = {test.p_value:.2g}).")
        else:
            groups = [
                _names([overview.methods[method] for method in group]) for group in overview.cliques if len(group) > 1
            ]
            together = f"; without a significant difference: {' | '.join(groups)}" if groups else ""
            apart = f"two methods differ if their mean ranks are {test.critical_difference:.2f} or more apart{together}"
            sentences.append(f"The ranks differ (Friedman p = {test.p_value:.2g}); {apart}.")
        yield Verdict(f"{overview_title(overview)}, all cells", tuple(sentences))


def _sentences(section: Section) -> Iterable[str]:
    column = next(column for column in section.board.columns if column.measure == section.sort)
    entries = [entry for entry in section.entries if section.sort in entry.estimates]
    if not entries:
        yield "No cell succeeded yet."
        return
    peers = ranked_with_first(entries, section.sort)
    others = list(dict.fromkeys(_name(section, entry) for entry in entries[len(peers) :]))
    best, direction = peers[0], "highest" if section.board.better(section.sort) == "higher" else "lowest"
    if not best.seeds:
        names = _names([_name(section, entry) for entry in peers])
        yield f"{names} have no seed in common, so their means do not compare."
        return
    among = ""
    if others:
        among = "Of those with a value on every seed, "
    elif best.missing_seeds:
        among = f"On the seeds that all have ({_names(list(map(str, best.seeds)))}), "
    measure = _MEASURES.get(section.sort, section.sort.replace("_", " "))
    yield f"{among}{_name(section, best)} has the {direction} mean {measure}: {_value(best, column)}{_costs(best)}."
    if best.rank is None:
        if len(peers) > 1:
            yield f"There are too few {section.board.subjects} for a test, so this order may be chance."
    else:
        worse, equals = separated_from_first(peers, section.sort)
        if equals:
            yield f"The test does not separate it from {_listed(section, equals, column)}."
        if worse:
            yield f"It is better than {_listed(section, worse, column)} ({TEST})."
    smallest = _undominated(section, peers)
    if len(smallest) > 1:
        names = _names([_name(section, entry) for entry in smallest])
        yield f"By their means, none is beaten in both {measure} and cost: {names}."
    if others:
        yield f"Left out for missing seeds: {_names(others)}."


def _listed(section: Section, entries: Sequence[Entry], column: Column) -> str:
    """Return entries with their values; several variants of one splitter in few words."""
    by_label: dict[str, list[Entry]] = {}
    for entry in entries:
        by_label.setdefault(entry.label, []).append(entry)
    texts = []
    for label, variants in by_label.items():
        if len(variants) == 1:
            (entry,) = variants
            variant = described_variant(section, entry)
            value = f"{_value(entry, column)}{_costs(entry)}"
            texts.append(f"{entry.label} ({variant}; {value})" if variant else f"{entry.label} ({value})")
        else:
            means = [measure_text(entry, column).partition(" ±")[0] for entry in variants]
            texts.append(f"{len(variants)} variants of {label} ({means[0]} to {means[-1]})")
    return _names(texts)


def _undominated(section: Section, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that no other one beats in both the measure and its cost, by their means, the best first."""
    cost = next((name for name in _COSTS if all(entry.seeds_with(name) == set(entry.seeds) for entry in entries)), None)
    if cost is None:
        return []
    found, least = [], float("inf")
    for entry in entries:  # the best measure first
        value = entry.estimates[cost].mean
        if value < least:
            found.append(entry)
            least = value
    return found


def _name(section: Section, entry: Entry) -> str:
    variant = described_variant(section, entry)
    return f"{entry.label} ({variant})" if variant else entry.label


def _value(entry: Entry, column: Column) -> str:
    unit = {"points": " points", "%": " %"}.get(column.unit, "")
    return f"{measure_text(entry, column)}{unit}"


def _costs(entry: Entry) -> str:
    """Return what an entry costs, for scenarios that measure it."""
    kernels, flops = (entry.mean(name) for name in _COSTS)
    if kernels is not None:
        return f" at {100 * kernels:.1f} % of the kernels"
    return "" if flops is None else f" at {flops:.1f} times the base model’s FLOPs"


def _unranked(section: Section) -> str:
    """Return a section's title, with the names of the entries without a rank if others have one; empty if all do."""
    measured = [entry for entry in section.entries if section.sort in entry.estimates]
    unranked = list(dict.fromkeys(entry.label for entry in measured if entry.rank is None))
    if not unranked or all(entry.rank is None for entry in measured):
        return section.title if unranked else ""
    return f"{_names(unranked)} in {section.title}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _have(items: Sequence[object]) -> str:
    return "has" if len(items) == 1 else "have"


def _names(names: Sequence[str], separator: str = ", ", *, n: int | None = None) -> str:
    """Return names as a list in words.

    Args:
        names: The names.
        separator: What stands between them.
        n: How many there are, if only the first ones are given.
    """
    shown = list(names[:_MAX_NAMES])
    rest = (len(names) if n is None else n) - len(shown)
    return separator.join([*shown, f"{rest:,} more"] if rest else shown)
