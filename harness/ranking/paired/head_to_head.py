"""Two splitters compared on every base model and data set that both were measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section
from harness.ranking.paired.comparison import SIGNIFICANCE, Comparison, holm_where_tested
from splitters.errors import UnknownNameError


@dataclass(frozen=True)
class HeadToHead:
    """Two entries of one section of a leaderboard.

    Args:
        section: The section.
        first: The first entry.
        second: The second one.
        subjects: The seeds, target classes or tasks that both were measured on.
        comparison: Their values of the section's measure, in the order of the subjects.
        p_value: Of the paired t-test, adjusted for the number of sections; None with too few subjects.
        wilcoxon_p_value: The same of Wilcoxon's signed-rank test, which needs no normal distribution.
    """

    section: Section
    first: Entry
    second: Entry
    subjects: tuple[str, ...]
    comparison: Comparison
    p_value: float | None = None
    wilcoxon_p_value: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the test separates the two."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE


def compare(board: Leaderboard, first: str, second: str) -> list[HeadToHead]:
    """Return the comparisons of two splitters, one per section in which both have values on common subjects.

    Only seeds that both succeeded on count. p-values are adjusted after Holm for the number of comparisons returned.

    Args:
        board: The leaderboard.
        first: The label or name of a splitter.
        second: That of another one.

    Raises:
        UnknownNameError: If no section has an entry of such a label or name.
    """
    labels = {name for section in board.sections for entry in section.entries for name in (entry.label, entry.splitter)}
    for name in (first, second):
        if name not in labels:
            raise UnknownNameError("splitter in these results", name, labels, where="compare")
    found = [pair for section in board.sections for pair in _in_section(section, first, second)]
    t_tests = holm_where_tested([pair.comparison.p_value for pair in found])
    signed_ranks = holm_where_tested([pair.comparison.wilcoxon_p_value for pair in found])
    return [
        replace(pair, p_value=p_value, wilcoxon_p_value=wilcoxon)
        for pair, p_value, wilcoxon in zip(found, t_tests, signed_ranks, strict=True)
    ]


def _in_section(section: Section, first: str, second: str) -> Iterator[HeadToHead]:
    """Yield the pairs of entries of equal variant; a label is preferred to a splitter's name."""
    higher_is_better = section.board.better(section.sort) == "higher"
    for one in _named(section, first):
        for other in _named(section, second):
            if one is other or one.variant != other.variant:
                continue
            shared = one.seeds_with(section.sort) & other.seeds_with(section.sort)
            ours, theirs = one.subject_means(shared, section.sort), other.subject_means(shared, section.sort)
            subjects = tuple(subject for subject in ours if subject in theirs)
            if subjects:
                first_values, second_values = (tuple(means[name] for name in subjects) for means in (ours, theirs))
                comparison = Comparison(first_values, second_values, higher_is_better)
                yield HeadToHead(section, one, other, subjects, comparison)


def _named(section: Section, name: str) -> list[Entry]:
    exact = [entry for entry in section.entries if entry.label == name]
    return exact or [entry for entry in section.entries if entry.splitter == name]


def verdict(pairs: list[HeadToHead], first: str, second: str) -> str:
    """Return the outcome in one sentence; it calls a splitter better only where the test separates the two."""
    if not pairs:
        return f"{first} and {second} were never measured on the same seeds of the same base model and data set."
    tested = [pair for pair in pairs if pair.p_value is not None]
    wins = sum(pair.is_significant and pair.comparison.first_is_better for pair in tested)
    losses = sum(pair.is_significant and not pair.comparison.first_is_better for pair in tested)
    n_open, n_untested = len(tested) - wins - losses, len(pairs) - len(tested)
    parts = []
    if wins:
        parts.append(f"{first} is better in {wins}")
    if losses:
        parts.append(f"{second} is better in {losses}")
    if n_open:
        parts.append(f"{n_open} {'is' if n_open == 1 else 'are'} inconclusive")
    if n_untested:
        parts.append(f"{n_untested} {'has' if n_untested == 1 else 'have'} too few pairs to test")
    bound = f"significance level {SIGNIFICANCE:g}" if n_open else f"p < {SIGNIFICANCE:g}"
    level = f" ({bound})" if tested else ""
    return f"Of {len(pairs)} comparison{'s' if len(pairs) > 1 else ''}, {', '.join(parts)}{level}."
