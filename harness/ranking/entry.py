"""Entries of a leaderboard: what a splitter with one configuration measured over its seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.boards import Board
from benchmarks.boards.samples import Indices, Numbers, Samples, numbered
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import State
from harness.ranking.configuration import Members, groups_of
from harness.ranking.statistics import Estimate

Block = int | str
"""What measurements are paired by: a seed; where rows of several data sets or models are averaged, each one's seed."""


@dataclass(frozen=True, eq=False)
class BlockSamples:
    """The measurements of an entry.

    Args:
        blocks: The seeds (or blocks) that succeeded, sorted.
        block: The index of each measurement's block, ascending.
        subject: The index of each one's subject.
        subjects: Names of subjects.
        values: By measure; NaN where nothing was measured.
    """

    blocks: tuple[Block, ...]
    block: Indices
    subject: Indices
    subjects: Sequence[str]
    values: Mapping[str, Numbers]

    @classmethod
    def of(cls, samples: Samples, blocks: Sequence[Block]) -> BlockSamples:
        """Return samples in the order of their blocks.

        Args:
            samples: The samples.
            blocks: The block of each row.
        """
        of_samples = [blocks[row] for row in samples.row.tolist()]
        known = in_order(set(of_samples))
        place = {block: index for index, block in enumerate(known)}
        block = np.array([place[one] for one in of_samples], np.int64)
        order = np.argsort(block, kind="stable")
        values = {measure: found[order] for measure, found in samples.values.items()}
        return cls(known, block[order], samples.subject[order], samples.subjects, values)

    def on(self, blocks: Collection[Block]) -> BlockSamples:
        """Return the measurements of some of the blocks."""
        keep = np.array([block in blocks for block in self.blocks], np.bool_)
        if keep.all():
            return self
        kept, number = keep[self.block], np.cumsum(keep) - 1
        return BlockSamples(
            tuple(block for block in self.blocks if block in blocks),
            number[self.block[kept]],
            self.subject[kept],
            self.subjects,
            {measure: found[kept] for measure, found in self.values.items()},
        )

    def measured(self, measure: str) -> frozenset[Block]:
        """Return the blocks on which a measure was measured."""
        if measure not in self._measured:
            known = ~np.isnan(self.values[measure]) if measure in self.values else np.zeros(len(self.block), np.bool_)
            self._measured[measure] = self._all_blocks if known.all() else self._blocks_of(known)
        return self._measured[measure]

    def subject_means(self, measure: str, blocks: Collection[Block] | None = None) -> dict[str, float]:
        """Return a measure's mean per subject, over some of the blocks or all."""
        subjects, means = self._means(measure, blocks)
        return {self.subjects[index]: mean for index, mean in zip(subjects, means, strict=True)}

    def means(self, measure: str) -> list[float]:
        """Return a measure's mean per subject."""
        return self._means(measure)[1]

    def _means(self, measure: str, blocks: Collection[Block] | None = None) -> tuple[list[int], list[float]]:
        """Return subjects in the order of their first appearance, and their means."""
        if measure not in self.values:
            return [], []
        values, subjects = self.values[measure], self._subjects
        keep = ~np.isnan(values)
        if blocks is not None and not (wanted := set(blocks)).issuperset(self.blocks):
            keep &= np.array([block in wanted for block in self.blocks], np.bool_)[self.block]
        if not keep.all():
            values, subjects = values[keep], _Subjects.of(self.subject[keep])
        if subjects.ends is None:
            return subjects.numbers, values.tolist()
        ordered = values[subjects.order].tolist()
        return subjects.numbers, [math.fsum(ordered[i:j]) / (j - i) for i, j in pairwise((0, *subjects.ends))]

    @cached_property
    def _subjects(self) -> _Subjects:
        return _Subjects.of(self.subject)

    def _blocks_of(self, known: NDArray[np.bool_]) -> frozenset[Block]:
        return frozenset(self.blocks[index] for index in np.unique(self.block[known]).tolist())

    @cached_property
    def _all_blocks(self) -> frozenset[Block]:
        return frozenset(self.blocks)

    @cached_property
    def _measured(self) -> dict[str, frozenset[Block]]:
        return {}


@dataclass(frozen=True, eq=False)
class _Subjects:
    """The subjects of some measurements.

    Args:
        numbers: The subjects, in the order of their first appearance.
        order: The indices of measurements, subject by subject.
        ends: Where each subject's measurements end in this order; None where each has one.
    """

    numbers: list[int]
    order: Members
    ends: list[int] | None

    @classmethod
    def of(cls, subject: Indices) -> _Subjects:
        if np.bincount(subject).max(initial=0) <= 1:
            return cls(subject.tolist(), np.arange(len(subject)), None)
        members = groups_of(subject)
        numbers = [int(subject[one[0]]) for one in members]
        return cls(numbers, np.concatenate(members), np.cumsum([len(one) for one in members]).tolist())


NO_SAMPLES = BlockSamples((), np.empty(0, np.int64), np.empty(0, np.int64), (), {})
"""Of an entry that was not measured here."""


class LazyEstimates(Mapping[str, Estimate]):
    """The estimates of an entry, each made when it is asked for: few of them are shown.

    Args:
        samples: The measurements.
    """

    def __init__(self, samples: BlockSamples) -> None:
        self._samples = samples
        self._made: dict[str, Estimate] = {}

    def __getitem__(self, measure: str) -> Estimate:
        """Return mean and interval over subjects, each subject's measurements averaged first."""
        if measure not in self._made:
            means = self._samples.means(measure)
            if not means:
                raise KeyError(measure)
            self._made[measure] = Estimate.of(means)
        return self._made[measure]

    def __iter__(self) -> Iterator[str]:
        """Yield the measures that were measured."""
        return (name for name, values in self._samples.values.items() if not np.isnan(values).all())

    def __len__(self) -> int:
        """Return the number of measures that were measured."""
        return sum(1 for _ in self)

    def __contains__(self, measure: object) -> bool:
        """Return whether a measure was measured."""
        values = self._samples.values.get(str(measure))
        return values is not None and not np.isnan(values).all()


@dataclass(frozen=True)
class Entry:
    """One splitter with one configuration, on one base model and data set.

    Args:
        splitter: The splitter's name.
        label: Its label or name, and settings where others are called the same; with the variant, it is unique.
        variant: What distinguishes it from the configuration's other entries, e.g. the fusion rule.
        estimates: Mean and interval of each measure over the subjects (seeds, target classes, tasks) that have it.
        score: The kinds of scores that its modules have, several of them if seeds differ; empty if rows do not say.
        samples: The measurements behind the estimates.
        failed_seeds: Seeds that failed and did not succeed in any cell, sorted.
        interrupted_seeds: Those of them that someone interrupted, which says nothing about the splitter.
        cell_ids: The cells that it stands for.
        n_warnings: Number of its cells whose rows have warnings.
        rank: Its rank in its section; None if no seed succeeded, or if too few did to tell entries apart.
        missing_seeds: Seeds on which other entries of the section were measured and this one was not.
        differences: If the entry is compared with a baseline: its measures minus the baseline's, with intervals over
            the subjects that both have.
    """

    splitter: str
    label: str
    variant: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    score: str = ""
    samples: BlockSamples = field(default_factory=lambda: NO_SAMPLES, repr=False)
    failed_seeds: tuple[Block, ...] = ()
    interrupted_seeds: tuple[Block, ...] = ()
    n_warnings: int = 0
    cell_ids: tuple[str, ...] = ()
    rank: int | None = None
    missing_seeds: tuple[Block, ...] = ()
    differences: Mapping[str, Estimate] | None = None

    @property
    def texts(self) -> dict[str, str]:
        """What distinguishes it, by column: its variant, and the kind of its scores if it is known."""
        return {**self.variant, **({"score": self.score} if self.score else {})}

    @property
    def seeds(self) -> tuple[Block, ...]:
        """The seeds that succeeded, sorted."""
        return self.samples.blocks

    @property
    def n_seeds(self) -> int:
        """The number of seeds that succeeded."""
        return len(self.samples.blocks)

    @property
    def n_failed(self) -> int:
        """The number of seeds that failed."""
        return len(self.failed_seeds)

    def mean(self, measure: str) -> float | None:
        """Return a measure's mean, or None if no seed has it."""
        if measure in self.samples.values:
            means = self.samples.means(measure)
            return fmean(means) if means else None
        estimate = self.estimates.get(measure)
        return None if estimate is None else estimate.mean

    def seeds_with(self, measure: str) -> frozenset[Block]:
        """Return the seeds on which a measure was measured."""
        return self.samples.measured(measure)

    def on(self, seeds: Collection[Block]) -> Entry:
        """Return the entry with what was measured on some of the seeds."""
        samples = self.samples.on(seeds)
        return self if samples is self.samples else replace(self, samples=samples, estimates=LazyEstimates(samples))

    def is_partial(self, measure: str) -> bool:
        """Return whether some of its seeds have a measure and others lack it."""
        return 0 < len(self.seeds_with(measure)) < self.n_seeds

    def subject_means(self, seeds: Collection[Block], measure: str) -> dict[str, float]:
        """Return a measure's mean per subject, over some of the seeds."""
        return self.samples.subject_means(measure, seeds)


def in_order(seeds: Iterable[Block]) -> tuple[Block, ...]:
    """Return seeds sorted."""
    found = list(seeds)
    if {str}.isdisjoint(map(type, found)):
        return tuple(sorted(found))
    return tuple(sorted(found, key=lambda seed: (seed, "") if isinstance(seed, int) else (0, seed)))


def make_entries(
    rows: Rows,
    samples: Samples,
    label: str,
    board: Board,
    *,
    origins: Sequence[str] | None = None,
) -> Iterator[Entry]:
    """Yield an entry per variant that was measured; a single one without numbers if there is none.

    Args:
        rows: The rows of one configuration; a seed may have several, e.g. from earlier versions of the schema.
        samples: What those that succeeded measured.
        label: What the entries are called.
        board: The scenario's board.
        origins: Where rows of several data sets or models are averaged, names what each row was measured on, so that
            only measurements of the same origin are paired.
    """
    blocks: list[Block] = rows.values("seed")
    if origins is not None:
        blocks = [f"{origin} · {seed}" for origin, seed in zip(origins, blocks, strict=True)]
        samples = _with_origins(samples, origins)
    states, warnings, scores = rows.values("state"), rows.values("warnings"), rows.values("score")
    succeeded = np.flatnonzero(rows.equal("state", State.OK.value)).tolist()
    known = {blocks[index] for index in succeeded}

    def failed(*counting: State) -> tuple[Block, ...]:
        names = {state.value for state in counting}.intersection(states)
        return in_order({blocks[row] for row, state in enumerate(states) if state in names} - known) if names else ()

    common = Entry(
        splitter=rows.first("splitter"),
        label=label,
        score="/".join(sorted({score for index in succeeded if (score := scores[index])})),
        samples=replace(NO_SAMPLES, blocks=in_order(known)),
        failed_seeds=failed(*(state for state in State if not state.is_final)),
        interrupted_seeds=failed(State.INTERRUPTED),
        n_warnings=sum(bool(warnings[index]) for index in succeeded),
        cell_ids=tuple(rows.values("cell_id")),
    )
    if not len(samples.row):
        yield common
    for members in groups_of(samples.variant):
        of_variant = BlockSamples.of(samples.take(members), blocks)
        variant = samples.variants[int(samples.variant[members[0]])]
        yield replace(
            common,
            variant=dict(zip(board.variants, variant, strict=True)),
            estimates=LazyEstimates(of_variant),
            samples=of_variant,
        )


def _with_origins(samples: Samples, origins: Sequence[str]) -> Samples:
    """Return samples whose subjects are named with the origins of their rows."""
    subject, subjects = numbered(
        f"{origins[row]} · {samples.subjects[subject]}"
        for row, subject in zip(samples.row.tolist(), samples.subject.tolist(), strict=True)
    )
    return replace(samples, subject=subject, subjects=subjects)
