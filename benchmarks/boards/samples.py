"""Measurements of many rows as columns: what leaderboards are made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from numpy.typing import NDArray

from benchmarks.rows.arrow_arrays import coded, to_numpy
from benchmarks.rows.columns import Rows, as_numbers
from benchmarks.rows.row import Row

NameT = TypeVar("NameT", bound=Hashable)

Numbers = Float[NDArray[np.float64], " sample"]
Indices = Int[NDArray[np.int64], " sample"]


@dataclass(frozen=True)
class Sample:
    """One measurement that a row holds, for boards that look at one row at a time.

    Args:
        subject: The seed, target class or task. Intervals are over subjects, after averaging each subject's
            measurements.
        variant: What distinguishes it from the row's other measurements of the subject, e.g. the fusion rule.
        values: By measure; None where nothing was measured.
    """

    subject: str
    variant: Mapping[str, str]
    values: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Samples:
    """Measurements, in the order of their rows.

    Args:
        row: The index of each one's row.
        subject: The index of each one's subject in ``subjects``: the seed, target class or task. Intervals are over
            subjects, after averaging each subject's measurements.
        subjects: Names of subjects, each once.
        variant: The index of each one's variant in ``variants``.
        variants: What distinguishes a row's measurements of one subject, e.g. the fusion rule: a text per key. Some may
            not occur.
        values: By measure; NaN where nothing was measured.
    """

    row: Indices
    subject: Indices
    subjects: Sequence[str]
    variant: Indices
    variants: Sequence[tuple[str, ...]]
    values: Mapping[str, Numbers]

    def take(self, indices: Indices) -> Samples:
        """Return some of the measurements."""
        values = {measure: found[indices] for measure, found in self.values.items()}
        return Samples(
            self.row[indices], self.subject[indices], self.subjects, self.variant[indices], self.variants, values
        )


def seed_samples(rows: Rows, values: Mapping[str, Numbers], *, row: Indices | None = None) -> Samples:
    """Return samples whose subjects are their rows' seeds.

    Args:
        rows: The rows.
        values: Their values by measure.
        row: The index of each value's row; each row has one if not given.
    """
    row = np.arange(len(rows)) if row is None else row
    seeds, subject = np.unique(to_numpy(rows.arrow("seed"))[row], return_inverse=True)
    return Samples(row, subject, list(map(str, seeds.tolist())), np.zeros(len(row), np.int64), [()], values)


class ColumnSamples(ABC):
    """Reads the measurements of many rows from their columns."""

    @abstractmethod
    def __call__(self, rows: Rows) -> Samples:
        """Return the samples of some rows."""


@dataclass(frozen=True)
class SeedSamples(ColumnSamples):
    """Reads columns of rows as measures: one sample per row, of its seed.

    Args:
        measures: The columns.
    """

    measures: tuple[str, ...]

    def __call__(self, rows: Rows) -> Samples:
        """Return the samples of some rows."""
        return seed_samples(rows, {measure: rows.numbers(measure) for measure in self.measures})


@dataclass(frozen=True)
class RecordSamples(ColumnSamples):
    """Reads the records in a column of rows: one sample per record.

    Args:
        column: The column.
        measures: Fields of the records.
        subject: The field that names the subject, whose texts are joined if it is a list; the row's seed if empty.
        variants: Fields that distinguish a row's measurements of one subject.
        null: What a variant is called where the field is null.
    """

    column: str
    measures: tuple[str, ...]
    subject: str = ""
    variants: tuple[str, ...] = ()
    null: str = "all"

    def __call__(self, rows: Rows) -> Samples:
        """Return the samples of some rows."""
        lists = rows.arrow(self.column)
        row, records = to_numpy(pc.list_parent_indices(lists)).astype(np.int64), pc.list_flatten(lists)
        values = {measure: as_numbers(pc.struct_field(records, measure)) for measure in self.measures}
        variant, variants = self._variants(records)
        if not self.subject:
            of_seeds = seed_samples(rows, values, row=row)
            return Samples(row, of_seeds.subject, of_seeds.subjects, variant, variants, values)
        names = pc.struct_field(records, self.subject)
        if pa.types.is_list(names.type):
            names = pc.binary_join(names, "+")
        return Samples(row, *coded(names), variant, variants, values)

    def _variants(self, records: pa.StructArray) -> tuple[Indices, list[tuple[str, ...]]]:
        code = np.zeros(len(records), np.int64)
        variants: list[tuple[str, ...]] = [()]
        for field in self.variants:
            further, texts = coded(pc.struct_field(records, field).cast(pa.string()))
            code = code * len(texts) + further
            variants = [(*variant, text or self.null) for variant in variants for text in texts]
        return code, variants


def numbered(names: Iterable[NameT]) -> tuple[Indices, list[NameT]]:
    """Return the number of each name, counted in the order of first appearance, and the names."""
    known: dict[NameT, int] = {}
    numbers = np.fromiter((known.setdefault(name, len(known)) for name in names), np.int64)
    return numbers, list(known)


def samples_of_models(
    samples: Callable[[Row], list[Sample]], rows: Rows, *, variants: Sequence[str], measures: Sequence[str]
) -> Samples:
    """Return the samples that a function finds in the model of each row.

    Args:
        samples: The function.
        rows: The rows.
        variants: The keys of the samples' variants.
        measures: The measures.
    """
    found = [(index, sample) for index, row in enumerate(rows) for sample in samples(row)]
    values = {
        measure: np.array([math.nan if (value := sample.values[measure]) is None else value for _, sample in found])
        for measure in measures
    }
    return Samples(
        np.array([index for index, _ in found], np.int64),
        *numbered(sample.subject for _, sample in found),
        *numbered(tuple(sample.variant[key] for key in variants) for _, sample in found),
        values,
    )
