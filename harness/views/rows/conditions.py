"""Conditions on rows: ``KEY=VALUE`` and comparisons, on columns and settings."""

from __future__ import annotations

import json
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from benchmarks.rows.row import Row
from harness.ranking.configuration import row_values, unknown_key
from splitters.errors import ConfigurationError

_SYNTAX = re.compile(r"([\w.-]+)\s*(!=|<=|>=|=|<|>)\s*(.*)", re.DOTALL)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MAX_KNOWN = 10
"""Values listed where a condition leaves no rows."""


@dataclass(frozen=True)
class Condition:
    """A condition on a row.

    Args:
        key: A key of ``row_values``.
        operator: ``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``.
        value: What to compare with; with ``=`` and ``!=``, ``*`` stands for any text.
    """

    key: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the condition in a text.

        Raises:
            ConfigurationError: If it is none.
        """
        found = _SYNTAX.fullmatch(text.strip())
        if found is None:
            raise ConfigurationError(
                f"--where {text}: a condition is KEY=VALUE, KEY!=VALUE, or KEY<VALUE, <=, > or >= for numbers."
            )
        condition = cls(*found.groups())
        if condition.operator in _ORDER and _number(condition.value) is None:
            raise ConfigurationError(f"--where {text}: {condition.value!r} is not a number.")
        return condition

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether a row of these values fulfils it; one that lacks the key fulfils ``!=`` alone."""
        if self.key not in values:
            return self.operator == "!="
        value = values[self.key]
        if self.operator in _ORDER:
            return _is_number(value) and _ORDER[self.operator](value, float(self.value))
        return self._equals(value) == (self.operator == "=")

    def _equals(self, value: object) -> bool:
        number = _number(self.value)
        if _is_number(value) and number is not None:
            return value == number
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return fnmatchcase(text, self.value)


def select(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """Return the rows that fulfil all conditions; several with ``=`` on one key are alternatives.

    Args:
        rows: The rows.
        conditions: Such as ``model=sim*``, ``splitter.alpha>=0.5``, ``seed!=3``.

    Raises:
        UnknownNameError: If no row has a key.
        ConfigurationError: If a condition is malformed, or no row is left.
    """
    if not conditions or not rows:
        return list(rows)
    parsed = [Condition.parse(text) for text in conditions]
    values = [row_values(row) for row in rows]
    known = {key for of_row in values for key in of_row}
    alternatives: defaultdict[tuple[str, bool], list[Condition]] = defaultdict(list)
    for number, condition in enumerate(parsed):
        if condition.key not in known:
            raise unknown_key(condition.key, known, where=f"--where {conditions[number]}")
        alternatives[condition.key if condition.operator == "=" else str(number), condition.operator == "="].append(
            condition
        )
    left = [
        row
        for row, of_row in zip(rows, values, strict=True)
        if all(any(condition.holds(of_row) for condition in group) for group in alternatives.values())
    ]
    if not left:
        key = parsed[0].key
        seen = sorted({str(of_row.get(key)) for of_row in values})
        shown = ", ".join(seen[:_MAX_KNOWN]) + (", ..." if len(seen) > _MAX_KNOWN else "")
        raise ConfigurationError(f"--where {' --where '.join(conditions)}: no row is left. Values of {key}: {shown}.")
    return left


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
