"""What a sweep optimises: columns of rows to minimise or maximise, and constraints on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

from benchmarks.rows.row import Metrics, Row
from harness.ranking.statistics import Estimate
from splitters.errors import ConfigurationError, UnknownNameError

Direction = Literal["min", "max"]


def numeric_columns() -> list[str]:
    """Return the columns of a row that hold one measured number."""
    return [*(name for name, field in Metrics.model_fields.items() if _is_number(field.annotation)), "seconds"]


def _is_number(annotation: Any) -> bool:
    kinds = set(get_args(annotation)) or {annotation}
    return bool(kinds & {int, float}) and bool not in kinds and not any(get_args(kind) for kind in kinds)


def selection_column(column: str) -> str:
    """Return the column that trials read for a column: the one measured on select, where there is one."""
    on_select = f"select_{column}"
    return on_select if on_select in Metrics.model_fields else column


def column_facts(column: str) -> Mapping[str, Any]:
    """Return a column's ``unit``, ``bounds`` and ``better`` direction, where the row schema states them."""
    if column not in Metrics.model_fields:
        return {"unit": "seconds", "better": "lower"}
    extra = Metrics.model_fields[column].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _check_column(column: str, where: str) -> None:
    if column not in numeric_columns():
        raise UnknownNameError("numeric column of rows", column, numeric_columns(), where=where)


@dataclass(frozen=True)
class Objective:
    """A column to minimise or maximise.

    Args:
        name: The row's column.
        direction: ``min`` or ``max``.
    """

    name: str
    direction: Direction

    @classmethod
    def parse(cls, name: str, direction: object, *, where: str) -> Objective:
        """Read an objective.

        Raises:
            ConfigurationError: If there is no such numeric column, or the direction is unknown or the worse one.
        """
        _check_column(name, where)
        if direction not in ("min", "max"):
            raise UnknownNameError("direction", str(direction), ("min", "max"), where=f"{where}: {name}")
        better = {"lower": "min", "higher": "max"}.get(column_facts(name).get("better", ""))
        if better and direction != better:
            raise ConfigurationError(f"{where}: {name}: {direction} would seek the worst; write '{name}: {better}'.")
        return cls(name, "min" if direction == "min" else "max")

    @property
    def column(self) -> str:
        """The column that trials read."""
        return selection_column(self.name)

    @property
    def worst(self) -> float | None:
        """The worst possible value; None for unbounded columns."""
        bounds = column_facts(self.name).get("bounds")
        return None if bounds is None else float(bounds[1] if self.direction == "min" else bounds[0])

    def cost(self, value: float) -> float:
        """Return a value as a cost, which is to be minimised; its own inverse."""
        return value if self.direction == "min" else -value


@dataclass(frozen=True)
class Constraint:
    """A bound on a column.

    Args:
        text: The constraint in its normal form, such as ``accuracy_loss <= 0.02``.
        name: The row's column.
        is_upper: Whether ``bound`` is an upper bound.
        bound: The bound.
    """

    text: str
    name: str
    is_upper: bool
    bound: float

    @classmethod
    def parse(cls, text: object, *, where: str) -> Constraint:
        """Read ``COLUMN <= NUMBER`` or ``COLUMN >= NUMBER``.

        Raises:
            ConfigurationError: If it cannot be parsed, or there is no such numeric column.
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
        return selection_column(self.name)

    def violation(self, value: float) -> float:
        """Return by how much a value violates the bound; zero or negative if it satisfies it."""
        return value - self.bound if self.is_upper else self.bound - value


def seed_means(rows: Iterable[Row], column: str) -> dict[int, float] | None:
    """Return the mean of a column per seed; None if there are no rows, or a row has no value."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        value = getattr(row, column)
        if value is None:
            return None
        by_seed.setdefault(row.seed, []).append(float(value))
    return {seed: fmean(values) for seed, values in by_seed.items()} or None


def estimates(rows: Sequence[Row], columns: Mapping[str, str]) -> dict[str, Estimate]:
    """Return mean and interval over seeds, of the mean within each seed, of columns by name; none that a row lacks."""
    found = {name: seed_means(rows, column) for name, column in columns.items()}
    return {name: Estimate.of([means[seed] for seed in sorted(means)]) for name, means in found.items() if means}
