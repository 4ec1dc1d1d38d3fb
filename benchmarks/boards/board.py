"""What a scenario's leaderboard shows: its measures, their columns, and its entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel

from benchmarks.boards.samples import ColumnSamples, Sample, Samples, samples_of_models
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row

Unit = Literal["%", "points", "time", "count", "ratio"]

Subjects = Literal["seeds", "target classes", "tasks"]


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard for people.

    Args:
        measure: The measure that it shows.
        heading: Its heading.
        unit: The unit that numbers are formatted in.
        drop_priority: On a narrow terminal, the columns with the lowest numbers are left out first; None stays.
        counts_seeds: Whether JSON and CSV always state how many seeds have the measure, not just where some lack it.
    """

    measure: str
    heading: str
    unit: Unit
    drop_priority: int | None = None
    counts_seeds: bool = False


@dataclass(frozen=True)
class Board:
    """A scenario's leaderboard.

    Args:
        record: The record type whose fields are the measures, and which knows whether higher or lower is better.
        measures: The measures in formats for programs.
        columns: The columns in formats for people.
        sort: The measure that ranks by default.
        samples: Returns a row's measurements, or reads those of many rows from their columns, which is fast; an entry's
            mean and interval are over the subjects of all its rows.
        variants: The keys of ``Sample.variant``.
        subjects: The kind of subjects, for the legend.
        absent_is_failure: Whether a sample without a value failed, as opposed to not having been measured.
        note: What readers of its tables must know.
    """

    record: type[BaseModel]
    measures: tuple[str, ...]
    columns: tuple[Column, ...]
    sort: str
    samples: ColumnSamples | Callable[[Row], list[Sample]]
    variants: tuple[str, ...] = ()
    subjects: Subjects = "seeds"
    absent_is_failure: bool = False
    note: str = ""

    def samples_of(self, rows: Rows) -> Samples:
        """Return what rows measured."""
        if isinstance(self.samples, ColumnSamples):
            return self.samples(rows)
        return samples_of_models(self.samples, rows, variants=self.variants, measures=self.measures)

    def better(self, measure: str) -> str | None:
        """Return ``higher`` or ``lower``, or None where neither is better."""
        extra = self.record.model_fields[measure].json_schema_extra
        direction = extra.get("better") if isinstance(extra, dict) else None
        return str(direction) if direction else None

    def column(self, measure: str) -> Column:
        """Return the column of a measure: the board's own, or one that is named after it."""
        own = next((column for column in self.columns if column.measure == measure), None)
        return own or Column(measure, measure.replace("_", " "), self._unit(measure))

    def _unit(self, measure: str) -> Unit:
        if measure.endswith("seconds"):
            return "time"
        if measure.endswith("_ratio"):
            return "ratio"
        if "_gain" in measure or "gain_" in measure or measure.endswith("_loss"):
            return "points"
        annotation = self.record.model_fields[measure].annotation
        return "%" if float in (annotation, *get_args(annotation)) else "count"

    def sortable(self) -> list[str]:
        """Return the measures that can rank: those where higher or lower is better."""
        return [name for name in self.measures if self.better(name) is not None]


COST_MEASURES = (
    "flops_sum",
    "parameters_sum",
    "parameters_union",
    "latency_seconds",
    "flops_retention_sum",
    "param_retention_sum",
    "param_retention_union",
    "latency_ratio",
)
"""Measures of cost in every scenario with composed models."""

COST_COLUMNS = (
    Column("flops_retention_sum", "FLOPs, sum", "%", drop_priority=3),
    Column("latency_ratio", "latency", "ratio", drop_priority=2),
)
"""Columns of cost in every scenario with composed models."""
