"""What a sweep wants: numbers of rows to make small or large, and bounds on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

from benchmarks.records import Metrics, Row
from harness.ranking.statistics import Estimate
from splitters.errors import ConfigurationError, UnknownNameError

Direction = Literal["min", "max"]

_SELECT = "select_"

_FRACTIONS = frozenset(
    {
        "base_accuracy", "composed_accuracy", "accuracy_loss",
        "select_base_accuracy", "select_composed_accuracy", "select_accuracy_loss",
        "kernel_retention", "kernel_retention_union", "flops_retention",
        "param_retention", "param_retention_union", "jaccard_distance",
    }
)  # fmt: skip
"""Columns that cannot be worse than 1, or than 0 where more is better."""


def numeric_columns() -> list[str]:
    """Returns the columns of a row that hold one measured number."""
    return [*(name for name, field in Metrics.model_fields.items() if _is_number(field.annotation)), "seconds"]


def _is_number(annotation: Any) -> bool:
    kinds = set(get_args(annotation)) or {annotation}
    return bool(kinds & {int, float}) and bool not in kinds and not any(get_args(kind) for kind in kinds)


def read_on_select(column: str) -> str:
    """Returns the column that stands for a column while choices are made: that of select, where test has one too."""
    on_select = f"{_SELECT}{column}"
    return on_select if on_select in Metrics.model_fields else column


def _check_column(column: str, where: str) -> None:
    if column not in numeric_columns():
        raise UnknownNameError("numeric column of rows", column, numeric_columns(), where=where)


@dataclass(frozen=True)
class Objective:
    """A number to make small or large.

    Args:
        name: The row's column.
        direction: ``min`` or ``max``.
    """

    name: str
    direction: Direction

    @classmethod
    def parse(cls, name: str, direction: object, *, where: str) -> Objective:
        """Reads an objective.

        Raises:
            ConfigurationError: If no row has such a number, or the direction is none or the worse one.
        """
        _check_column(name, where)
        if direction not in ("min", "max"):
            raise UnknownNameError("direction", str(direction), ("min", "max"), where=f"{where}: {name}")
        better = {"lower": "min", "higher": "max"}.get(str(_better(name)))
        if better and direction != better:
            raise ConfigurationError(f"{where}: {name}: {direction} would seek the worst; write '{name}: {better}'.")
        return cls(name, "min" if direction == "min" else "max")

    @property
    def column(self) -> str:
        """The column that trials read: measured on select where the objective is one of test."""
        return read_on_select(self.name)

    @property
    def worst(self) -> float | None:
        """The worst value that it can have; None where there is no such value."""
        return (1.0 if self.direction == "min" else 0.0) if self.name in _FRACTIONS else None

    def cost(self, value: float) -> float:
        """Returns a value as something to make small."""
        return value if self.direction == "min" else -value


def _better(column: str) -> object:
    extra = Metrics.model_fields[column].json_schema_extra if column in Metrics.model_fields else {"better": "lower"}
    return extra.get("better") if isinstance(extra, dict) else None


@dataclass(frozen=True)
class Constraint:
    """A bound on a number.

    Args:
        text: The constraint as it was written, without spaces to spare.
        name: The row's column.
        is_upper: Whether values lie below the bound.
        bound: The bound.
    """

    text: str
    name: str
    is_upper: bool
    bound: float

    @classmethod
    def parse(cls, text: object, *, where: str) -> Constraint:
        """Reads ``COLUMN <= NUMBER`` or ``COLUMN >= NUMBER``.

        Raises:
            ConfigurationError: If it cannot be parsed, or no row has such a number.
        """
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", str(text))
        if not isinstance(text, str) or match is None:
            raise ConfigurationError(
                f"{where}: the constraint {text!r} cannot be parsed; write COLUMN <= NUMBER or COLUMN >= NUMBER, "
                "for example accuracy_loss <= 0.02."
            )
        name, comparison, number = match.groups()
        _check_column(name, where)
        return cls(f"{name} {comparison} {number}", name, comparison == "<=", float(number))

    @property
    def column(self) -> str:
        """The column that trials read."""
        return read_on_select(self.name)

    def violation(self, value: float) -> float:
        """Returns by how much a value breaks the bound; at most 0 where it keeps it."""
        return value - self.bound if self.is_upper else self.bound - value


def estimate(rows: Iterable[Row], column: str) -> Estimate | None:
    """Returns the mean of a column over seeds, each seed's rows averaged first; None if a row lacks it.

    Args:
        rows: The rows of one configuration.
        column: The column.
    """
    values = seed_means(rows, column)
    return Estimate.of([values[seed] for seed in sorted(values)]) if values else None


def seed_means(rows: Iterable[Row], column: str) -> dict[int, float] | None:
    """Returns a column's mean over each seed's rows; None if a row lacks it or there is none."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        value = getattr(row, column)
        if value is None:
            return None
        by_seed.setdefault(row.seed, []).append(float(value))
    return {seed: fmean(values) for seed, values in by_seed.items()} or None


def costs(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """Returns the objectives' values as things to make small, in the objectives' order."""
    return tuple(objective.cost(values[objective.name]) for objective in objectives)
