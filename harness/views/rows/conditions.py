"""Conditions on rows: ``KEY=VALUE`` and comparisons, on columns and settings."""

from __future__ import annotations

import json
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row
from harness.ranking.configuration import ABSENT, KeyedRows, unknown_key
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
        key: A key of ``KeyedRows``.
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

    def holds(self, value: object) -> bool:
        """Return whether a value fulfils it; a row that lacks the key fulfils ``!=`` alone."""
        if value is ABSENT:
            return self.operator == "!="
        if self.operator in _ORDER:
            return _is_number(value) and _ORDER[self.operator](value, float(self.value))
        return self._equals(value) == (self.operator == "=")

    def _equals(self, value: object) -> bool:
        number = _number(self.value)
        if _is_number(value) and number is not None:
            return value == number
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return re.fullmatch(".*".join(map(re.escape, re.split(r"\*+", self.value))), text, re.DOTALL) is not None


def select(rows: Sequence[Row], conditions: Sequence[str]) -> Rows:
    """Return the rows that fulfil all conditions; several with ``=`` on one key are alternatives.

    Args:
        rows: The rows.
        conditions: Such as ``model=sim*``, ``splitter.alpha>=0.5``, ``seed!=3``.

    Raises:
        UnknownNameError: If no row has a key.
        ConfigurationError: If a condition is malformed, or no row is left.
    """
    found = Rows.of(rows)
    if not conditions or not found:
        return found
    parsed = [Condition.parse(text) for text in conditions]
    keyed = KeyedRows(found)
    alternatives: defaultdict[tuple[str, str], list[Condition]] = defaultdict(list)
    for number, condition in enumerate(parsed):
        if condition.key not in keyed.known:
            raise unknown_key(condition.key, keyed.known, where=f"--where {conditions[number]}")
        alternatives[condition.key, "" if condition.operator == "=" else str(number)].append(condition)
    keep = np.ones(len(found), np.bool_)
    for (key, _), group in alternatives.items():
        keep &= [any(condition.holds(value) for condition in group) for value in keyed.values(key)]
    if not keep.any():
        key = parsed[0].key
        seen = sorted({str(None if value is ABSENT else value) for value in keyed.values(key)})
        shown = ", ".join(seen[:_MAX_KNOWN]) + (", ..." if len(seen) > _MAX_KNOWN else "")
        raise ConfigurationError(f"--where {' --where '.join(conditions)}: no row is left. Values of {key}: {shown}.")
    return found.filter(keep)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
