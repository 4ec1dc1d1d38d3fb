"""What a scenario puts on its leaderboard: which numbers, under which headings, and what makes an entry of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from benchmarks.records import Row

Unit = Literal["%", "points", "time", "count", "ratio"]

Subjects = Literal["seeds", "target classes", "tasks"]


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard for people.

    Args:
        measure: The number that it shows.
        heading: What stands above it.
        unit: How the number is written.
        spared: On a narrow terminal, columns with the lowest numbers are left out first; None stays.
    """

    measure: str
    heading: str
    unit: Unit
    spared: int | None = None


@dataclass(frozen=True)
class Sample:
    """One measurement that a row holds.

    Args:
        subject: What was measured: the seed, the target class, or the task. An interval is over subjects; measurements
            of the same subject are averaged first.
        variant: What tells it from the row's other measurements of the subject, e.g. the fusion rule.
        values: Its numbers by measure; null where nothing was measured.
    """

    subject: str
    variant: Mapping[str, str]
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Board:
    """A scenario's leaderboard.

    Args:
        record: The model that holds the measures, and says which direction is better.
        measures: All measures, for programs.
        columns: The ones for people.
        sort: The one that ranks.
        variants: The keys of ``Sample.variant``.
        samples: A row's measurements. An entry's mean and interval are over the subjects of all its rows.
        subjects: What they are, for the legend.
    """

    record: type[BaseModel]
    measures: tuple[str, ...]
    columns: tuple[Column, ...]
    sort: str
    samples: Callable[[Row], list[Sample]]
    variants: tuple[str, ...] = ()
    subjects: Subjects = "seeds"

    def better(self, measure: str) -> str | None:
        """Returns ``higher`` or ``lower``, or None where neither is better."""
        extra = self.record.model_fields[measure].json_schema_extra
        direction = extra.get("better") if isinstance(extra, dict) else None
        return str(direction) if direction else None

    def sortable(self) -> list[str]:
        """Returns the measures of which it is known whether more is better."""
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
"""What every scenario of composed models says of their cost, for programs."""

COST_COLUMNS = (
    Column("flops_retention_sum", "FLOPs, sum", "%", spared=3),
    Column("latency_ratio", "latency", "ratio", spared=2),
)
"""The same for people."""
