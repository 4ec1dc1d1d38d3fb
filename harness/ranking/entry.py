"""Entries of a leaderboard: what a splitter with one configuration measured over its seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from benchmarks.boards import Board, Sample
from benchmarks.rows.row import Row, State
from harness.ranking.statistics import Estimate

Block = int | str
"""What measurements are paired by: a seed; where rows of several data sets or models are averaged, each one's seed."""


@dataclass(frozen=True)
class Entry:
    """One splitter with one configuration, on one base model and data set.

    Args:
        splitter: The splitter's name.
        label: Its label or name, and settings where others are called the same; with the variant, it is unique.
        variant: What distinguishes it from the configuration's other entries, e.g. the fusion rule.
        estimates: Mean and interval of each measure over the subjects (seeds, target classes, tasks) that have it.
        score: The kinds of scores that its modules have, several of them if seeds differ; empty if rows do not say.
        samples: The measurements behind the estimates, by seed (or block).
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
    samples: Mapping[Block, Sequence[Sample]] = field(default_factory=dict, repr=False)
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
        return in_order(self.samples)

    @property
    def n_seeds(self) -> int:
        """The number of seeds that succeeded."""
        return len(self.samples)

    @property
    def n_failed(self) -> int:
        """The number of seeds that failed."""
        return len(self.failed_seeds)

    def mean(self, measure: str) -> float | None:
        """Return a measure's mean, or None if no seed has it."""
        estimate = self.estimates.get(measure)
        return None if estimate is None else estimate.mean

    def seeds_with(self, measure: str) -> frozenset[Block]:
        """Return the seeds on which a measure was measured."""
        return frozenset(
            seed
            for seed, samples in self.samples.items()
            if any(sample.values[measure] is not None for sample in samples)
        )

    def subject_means(self, seeds: Collection[Block], measure: str) -> dict[str, float]:
        """Return a measure's mean per subject, over some of the seeds."""
        return _subject_means((s for seed in self.seeds if seed in seeds for s in self.samples[seed]), measure)

    def estimate_on(self, seeds: Collection[Block], measure: str) -> Estimate:
        """Return a measure's mean and interval on some of its seeds, at least one of which must have it."""
        means = self.subject_means(seeds, measure)
        if not means:
            raise ValueError(f"{self.label} has no {measure} on the seeds {sorted(map(str, seeds))}")
        return Estimate.of(list(means.values()))


def in_order(seeds: Iterable[Block]) -> tuple[Block, ...]:
    """Return seeds sorted."""
    return tuple(sorted(seeds, key=lambda seed: (seed, "") if isinstance(seed, int) else (0, seed)))


def make_entries(
    rows: Sequence[Row], label: str, board: Board, *, origin: Callable[[Row], str] = lambda row: ""
) -> Iterator[Entry]:
    """Yield an entry per variant that was measured; a single one without numbers if there is none.

    Args:
        rows: The rows of one configuration; a seed may have several, e.g. from earlier versions of the schema.
        label: What the entries are called.
        board: The scenario's board.
        origin: Where rows of several data sets or models are averaged, names what a row was measured on, so that only
            measurements of the same origin are paired.
    """

    def block(row: Row) -> Block:
        return f"{origin(row)} · {row.seed}" if origin(row) else row.seed

    succeeded = [row for row in rows if row.state is State.OK]

    def failed(counts: Callable[[Row], bool]) -> tuple[Block, ...]:
        return in_order({block(row) for row in rows if counts(row)} - {block(row) for row in succeeded})

    by_variant: defaultdict[tuple[str, ...], defaultdict[Block, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for row in succeeded:
        for sample in _comparable_samples(row, board):
            subject = f"{origin(row)} · {sample.subject}" if origin(row) else sample.subject
            variant = tuple(sample.variant[key] for key in board.variants)
            by_variant[variant][block(row)].append(replace(sample, subject=subject))
    common = Entry(
        splitter=rows[0].splitter,
        label=label,
        score="/".join(sorted({row.score for row in succeeded if row.score})),
        samples={block(row): () for row in succeeded},
        failed_seeds=failed(lambda row: not row.state.is_final),
        interrupted_seeds=failed(lambda row: row.state is State.INTERRUPTED),
        n_warnings=sum(bool(row.warnings) for row in succeeded),
        cell_ids=tuple(row.cell_id for row in rows),
    )
    if not by_variant:
        yield common
    for values, by_seed in by_variant.items():
        samples = [sample for seed_samples in by_seed.values() for sample in seed_samples]
        estimates = {measure: _estimate(samples, measure) for measure in board.measures}
        yield replace(
            common,
            variant=dict(zip(board.variants, values, strict=True)),
            estimates={measure: estimate for measure, estimate in estimates.items() if estimate is not None},
            samples=dict(by_seed),
        )


def _comparable_samples(row: Row, board: Board) -> Iterator[Sample]:
    """Yield a row's measurements, without times where the cell shared its GPU."""
    shared_gpu = 0 < row.gpu_share < 1
    times = {column.measure for column in board.columns if column.unit == "time"} if shared_gpu else set()
    for sample in board.samples(row):
        values = {name: None if name in times else value for name, value in sample.values.items()}
        yield replace(sample, values=values) if times else sample


def _estimate(samples: Iterable[Sample], measure: str) -> Estimate | None:
    """Return mean and interval over subjects, each subject's measurements averaged first."""
    means = _subject_means(samples, measure)
    return Estimate.of(list(means.values())) if means else None


def _subject_means(samples: Iterable[Sample], measure: str) -> dict[str, float]:
    by_subject: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        value = sample.values[measure]
        if value is not None:
            by_subject[sample.subject].append(value)
    return {subject: fmean(values) for subject, values in by_subject.items()}
