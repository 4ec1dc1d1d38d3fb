"""Budgets, and the leaderboards of splitters at equal ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, create_model

from benchmarks.boards import Board, Column, Samples, Unit
from benchmarks.boards.samples import ColumnSamples, seed_samples
from benchmarks.rows.columns import Rows
from harness.ranking.budgets.recorded_states import (
    RecordedState,
    covered,
    front_of,
    loss_at,
    retention_at,
    states_by,
    states_of,
)
from splitters.errors import ConfigurationError, UnknownNameError

_KINDS = {
    "retention": "a share of the kernels above 0 and up to 1, such as retention=0.4 or retention=40%",
    "loss": "a loss of accuracy between -1 and 1, such as loss=0.01 or loss=1%",
    "seconds": "seconds above 0, such as seconds=30",
}

_ON_SELECT = (
    "From the states that each splitter recorded; losses are on select images, which also guided the search. "
    "hypervolume: share of all pairs of kernels and loss that a splitter's states dominate, up to all kernels and 100 "
    "points of loss."
)
_INTERPOLATED = (
    "Values between two recorded states are interpolated linearly; interp.: the share of values that are. 1/3: one of "
    "three seeds has a state within the budget."
)


@dataclass(frozen=True)
class Budget:
    """What splitters may spend.

    Args:
        kind: ``retention``, ``loss`` or ``seconds``.
        values: One or more budgets: fractions, or seconds.
    """

    kind: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``retention=0.4``, ``loss=1%``, ``seconds=10,20``.

        Raises:
            ConfigurationError: If the text is none of these, or a value is impossible.
        """
        kind, _, values = text.partition("=")
        if kind not in _KINDS:
            raise UnknownNameError("budget", kind, _KINDS, where="--at")
        return cls(kind, tuple(dict.fromkeys(_read(kind, value) for value in values.split(","))))

    def measure(self, value: float) -> str:
        """Return the name of what is measured at one of the budgets."""
        measured = {"retention": "loss", "loss": "retention", "seconds": "hypervolume"}[self.kind]
        return f"{measured}_at_{self.kind}_{value:g}"

    def board(self) -> Board:
        """Return the leaderboard of splitters at these budgets.

        With several budgets, entries are ordered by hypervolume; with several times, by that at the last one.
        """
        names = {value: self.measure(value) for value in self.values}
        last = [names[max(self.values)]] if self.kind == "seconds" else ["hypervolume"]
        measures = (*names.values(), "interpolated", "hypervolume", "n_states")
        return Board(
            record=_record(self, names),
            measures=measures,
            columns=(
                *(self._column(value, name) for value, name in names.items()),
                *([] if self.kind == "seconds" else [Column("interpolated", "interp.", "%", drop_priority=1)]),
                Column("hypervolume", "hypervolume", "%", drop_priority=3),
                Column("n_states", "states", "count", drop_priority=2),
            ),
            sort=last[0] if len(names) > 1 else next(iter(names.values())),
            samples=_BudgetSamples(self, names),
            absent_is_failure=self.kind != "seconds",
            note=_ON_SELECT if self.kind == "seconds" else f"{_ON_SELECT} {_INTERPOLATED}",
        )

    @property
    def title(self) -> str:
        """What the leaderboard's columns hold."""
        return {
            "retention": "loss with at most a share of the kernels",
            "loss": "kernels at a loss of at most",
            "seconds": "hypervolume within some time",
        }[self.kind]

    def _column(self, value: float, measure: str) -> Column:
        if self.kind == "seconds":
            return Column(measure, f"{value:g} s", "%")
        unit: Unit = "points" if self.kind == "retention" else "%"
        heading = f"≤{100 * value:g} {'%' if self.kind == 'retention' else 'pt'}"
        return Column(measure, heading, unit, counts_seeds=True)


def _read(kind: str, text: str) -> float:
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(%?)\s*", text)
    value = math.nan if match is None else float(match[1]) / (100 if match[2] else 1)
    percent_of_seconds = kind == "seconds" and match is not None and bool(match[2])
    allowed = {"retention": 0 < value <= 1, "loss": -1 < value < 1, "seconds": 0 < value < math.inf}[kind]
    if percent_of_seconds or not allowed:
        raise ConfigurationError(f"--at {kind}={text.strip()}: must be {_KINDS[kind]}.")
    return value


def _record(budget: Budget, names: Mapping[float, str]) -> type[BaseModel]:
    """Return a record type with the board's measures, which knows which direction is better."""
    better = "higher" if budget.kind == "seconds" else "lower"
    fields: dict[str, Any] = {name: _field(better) for name in names.values()}
    return create_model(
        "BudgetRecord", **fields, hypervolume=_field("higher"), interpolated=_field(None), n_states=_field(None)
    )


def _field(better: str | None) -> Any:
    extra: dict[str, Any] = {"unit": "fraction", **({"better": better} if better else {})}
    return (float | None, Field(default=None, json_schema_extra=extra))


@dataclass(frozen=True)
class _BudgetSamples(ColumnSamples):
    """Reads what the splits of rows reach at a budget."""

    budget: Budget
    names: Mapping[float, str]

    def __call__(self, rows: Rows) -> Samples:
        found = [
            (index, _measured(self.budget, self.names, states))
            for index, states in enumerate(states_of(rows))
            if states
        ]
        measures = (*self.names.values(), "hypervolume", "n_states", "interpolated")
        values = {name: np.array([values.get(name, math.nan) for _, values in found], np.float64) for name in measures}
        return seed_samples(rows, values, row=np.array([index for index, _ in found], np.int64))


def _measured(budget: Budget, names: Mapping[float, str], states: list[RecordedState]) -> dict[str, float]:
    """Return what a split's states reach at the budgets; nothing in seconds if no state has a time."""
    values = {"hypervolume": covered(states), "n_states": float(len(states))}
    if budget.kind == "seconds":
        has_times = any(state.seconds is not None for state in states)
        return values | {name: covered(states_by(states, at)) for at, name in names.items() if has_times}
    read = loss_at if budget.kind == "retention" else retention_at
    front = front_of(states)
    readings = {name: reading for value, name in names.items() if (reading := read(front, value)) is not None}
    values |= {name: reading.value for name, reading in readings.items()}
    if readings:
        values["interpolated"] = sum(reading.is_interpolated for reading in readings.values()) / len(readings)
    return values
