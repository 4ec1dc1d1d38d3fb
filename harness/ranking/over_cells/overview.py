"""Methods compared over all cells (base model x data set) of a scenario."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from harness.ranking.entry import Block, Entry, in_order
from harness.ranking.leaderboard import Leaderboard, Section
from harness.ranking.over_cells.bootstrap import Interval, bootstrap_iqm
from harness.ranking.over_cells.friedman import FriedmanTest, cell_ranks, cliques, friedman_test
from harness.ranking.paired.comparison import MIN_PAIRS, MIN_SIGNED_RANKS, SIGNIFICANCE, Comparison, holm_where_tested
from harness.ranking.statistics import difference, wilcoxon_p_value
from splitters.errors import UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CellValues:
    """What methods measured in one cell, on the seeds that all of them were run on.

    Args:
        title: The title of the cell's section on the leaderboard.
        subjects: The seeds, or the target classes or tasks that were measured on these seeds.
        values: A value per method and subject; NaN where the method failed.
        n_failed: Failed seeds, per method.
    """

    title: str
    subjects: tuple[str, ...]
    values: Float[NDArray[np.float64], "method subject"]
    n_failed: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Two methods over all cells.

    Args:
        first: Index of the first method.
        second: Index of the second one.
        probability: Probability that the first one is better on a seed (or other subject): the mean over cells of the
            share of seeds on which it is, ties counted half, a failure worse than any value.
        p_value: Of ``Overview.pair_test``, Holm-corrected for the number of pairs; None if there are too few values.
    """

    first: int
    second: int
    probability: float
    p_value: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the test separates the two."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE


@dataclass(frozen=True, eq=False)
class Overview:
    """A scenario's methods over its cells.

    Args:
        section: One of the scenario's sections, for its board and measure.
        variant: What else was compared separately, e.g. the fusion rule.
        methods: Names of the methods that were run in every cell.
        cells: Their values.
        left_out: Names of methods that were not run in every cell.
    """

    section: Section
    variant: Mapping[str, str]
    methods: tuple[str, ...]
    cells: tuple[CellValues, ...]
    left_out: tuple[str, ...] = ()

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values of the measure are better."""
        return self.section.board.better(self.section.sort) == "higher"

    @property
    def has_repetitions(self) -> bool:
        """Whether every cell has several seeds; with one, differences may be chance, and nothing is tested."""
        return all(len(cell.subjects) > 1 for cell in self.cells)

    @cached_property
    def ranks(self) -> Float[NDArray[np.float64], "cell method"]:
        """The ranks of the methods' means over seeds; a method with a failed seed ranks behind those without."""
        means = np.stack([cell.values.mean(axis=1) for cell in self.cells])
        return cell_ranks(means, higher_is_better=self.higher_is_better)

    @cached_property
    def mean_ranks(self) -> Float[NDArray[np.float64], " method"]:
        """The means of the ranks over cells."""
        return np.asarray(self.ranks.mean(axis=0))

    @cached_property
    def friedman(self) -> FriedmanTest | None:
        """Friedman's test over the cells; None if there are too few cells, methods or seeds."""
        return friedman_test(self.ranks) if self.has_repetitions else None

    @cached_property
    def cliques(self) -> list[tuple[int, ...]]:
        """Groups of methods without a significant difference, as indices; none without a test."""
        return cliques(self.mean_ranks, self.friedman) if self.friedman else []

    @property
    def order(self) -> list[int]:
        """The methods' indices by mean rank."""
        return [int(index) for index in np.argsort(self.mean_ranks, kind="stable")]

    def n_failed(self, method: int) -> int:
        """Return on how many seeds of all cells a method failed."""
        return sum(cell.n_failed[method] for cell in self.cells)

    def iqm(self, method: int) -> Interval | None:
        """Return a method's interquartile mean over all cells and seeds; None if it failed on one of them."""
        values = [cell.values[method] for cell in self.cells]
        return None if self.n_failed(method) else bootstrap_iqm(values)

    @property
    def pair_test(self) -> str | None:
        """The test of pairs: paired t over the seeds of a single cell, Wilcoxon over the means of several cells.

        Seeds of one cell are repetitions of one experiment. They tell how sure a difference in that cell is, but are no
        sample of cells (Demsar, 2006, section 3), so means of cells are what is tested over cells.
        """
        if len(self.cells) == 1:
            enough = len(self.cells[0].subjects) >= MIN_PAIRS
            return f"paired t-test over {self.section.board.subjects}" if enough else None
        enough = len(self.cells) >= MIN_SIGNED_RANKS and self.has_repetitions
        return "Wilcoxon's signed-rank test over cells" if enough else None

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two methods, the first one the better one by mean rank."""
        found = [self._pair(one, other) for one, other in combinations(self.order, 2)]
        adjusted = holm_where_tested([pair.p_value for pair in found])
        return [replace(pair, p_value=p_value) for pair, p_value in zip(found, adjusted, strict=True)]

    def _pair(self, one: int, other: int) -> Pair:
        costs = [self._costs(cell)[[one, other]] for cell in self.cells]
        cells = [Comparison(tuple(ours), tuple(theirs), higher_is_better=False) for ours, theirs in costs]
        probability = fmean(cell.probability_of_superiority for cell in cells)
        return Pair(one, other, probability, self._p_value(costs))

    def _p_value(self, costs: Sequence[Float[NDArray[np.float64], "2 subject"]]) -> float | None:
        if self.pair_test is None:
            return None
        if len(costs) > 1:
            return wilcoxon_p_value([difference(*cell.mean(axis=1).tolist()) for cell in costs])
        first, second = costs[0][:, np.isfinite(costs[0]).all(axis=0)].tolist()
        return Comparison(tuple(first), tuple(second), higher_is_better=False).p_value

    def _costs(self, cell: CellValues) -> Float[NDArray[np.float64], "method subject"]:
        """Return values to be minimised, infinite for failures."""
        return np.where(np.isnan(cell.values), np.inf, -cell.values if self.higher_is_better else cell.values)


def overviews(board: Leaderboard, names: Sequence[str] = ()) -> list[Overview]:
    """Return an overview per scenario and variant in which methods were run on common seeds.

    Cells are the sections of the leaderboard. A method counts if it was run in each of them; a seed of a cell counts if
    all these methods were run on it, so that no method has easier seeds than another. A failed seed counts as run.

    Args:
        board: The leaderboard.
        names: Labels or names of the splitters to compare, over the cells in which all of them were run; all splitters
            by default.

    Raises:
        UnknownNameError: If the leaderboard has no such splitter.
    """
    known = {name for section in board.sections for entry in section.entries for name in (entry.label, entry.splitter)}
    for name in names:
        if name not in known:
            raise UnknownNameError("splitter in these results", name, known, where="compare")
    groups: defaultdict[tuple[str, ...], dict[str, list[tuple[Section, Entry]]]] = defaultdict(dict)
    for section in board.sections:
        for entry in section.entries:
            if _run_seeds(entry, section) and (not names or {entry.label, entry.splitter} & set(names)):
                variant = (section.scenario, *(entry.variant.get(key, "") for key in section.board.variants))
                groups[variant].setdefault(section.title, []).append((section, entry))
    found = [[cell for cell in cells.values() if _has_all(cell, names)] for cells in groups.values()]
    return [overview for cells in found if cells for overview in _overview(cells)]


def _has_all(cell: Sequence[tuple[Section, Entry]], names: Sequence[str]) -> bool:
    """Return whether all splitters of these names were run in a cell: one that some lack says nothing of them."""
    return all(any(name in (entry.label, entry.splitter) for _, entry in cell) for name in names)


def _overview(cells: Sequence[Sequence[tuple[Section, Entry]]]) -> Iterator[Overview]:
    """Yield the overview of the entries of one scenario and variant, by cell, if some seeds are shared."""
    section, entry = cells[0][0]
    methods = [entry.label for _, entry in cells[0] if all(entry.label in _by_label(cell) for cell in cells)]
    left_out = sorted({label for cell in cells for label in _by_label(cell)} - set(methods))
    if methods:
        found = [_cell_values(cell[0][0], [_by_label(cell)[label] for label in methods]) for cell in cells]
        usable = tuple(cell for cell in found if cell.subjects)
        if usable:
            yield Overview(section, entry.variant, tuple(methods), usable, tuple(left_out))


def _by_label(cell: Sequence[tuple[Section, Entry]]) -> dict[str, Entry]:
    return {entry.label: entry for _, entry in cell}


def _cell_values(section: Section, entries: Sequence[Entry]) -> CellValues:
    seeds = frozenset.intersection(*(_run_seeds(entry, section) for entry in entries))
    failed = [seeds - entry.seeds_with(section.sort) for entry in entries]
    means = [entry.subject_means(seeds, section.sort) for entry in entries]
    if section.board.subjects == "seeds":
        subjects = [str(seed) for seed in in_order(seeds)]
    else:
        # A class's mean over fewer seeds would not compare: whoever failed on a seed failed in the cell.
        means = [{} if lost else found for found, lost in zip(means, failed, strict=True)]
        measured = [found.keys() for found in means if found]
        subjects = [name for name in measured[0] if all(name in others for others in measured)] if measured else []
    values = [[found.get(subject, math.nan) for subject in subjects] for found in means]
    return CellValues(
        section.title, tuple(subjects), np.array(values, dtype=np.float64), tuple(len(lost) for lost in failed)
    )


def _run_seeds(entry: Entry, section: Section) -> frozenset[Block]:
    """Return the seeds on which an entry has a value, or counts as failed."""
    measured = frozenset(entry.seeds) if section.board.absent_is_failure else entry.seeds_with(section.sort)
    return measured | frozenset(entry.failed_seeds) - frozenset(entry.interrupted_seeds)
