"""One searched setting of a splitter: its range or choices, and how values become settings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from splitters.errors import ConfigurationError, UnknownNameError

Kind = Literal["int", "float", "choice"]

_KINDS: tuple[Kind, ...] = ("int", "float", "choice")
_KEYS = {"int": ("log", "step", "unit", "when"), "float": ("log", "step", "when"), "choice": ("when",)}
_UNITS = ("steps", "epochs")
_NEAR = 1e-9
"""Tolerance of ranges, relative to their width."""

_MAX_VALUES = 10_000
"""A range with more values counts as infinite."""


@dataclass(frozen=True)
class Parameter:
    """One searched setting.

    Args:
        name: The setting.
        kind: ``int``, ``float`` or ``choice``.
        low: Lower end of a range, inclusive.
        high: Upper end of a range, inclusive.
        log: Whether the range is searched on a logarithmic scale.
        step: Grid of a range; None leaves a float range continuous.
        unit: Unit of a length: 60 becomes the setting ``60 steps``.
        choices: The values of a choice.
        when: Other settings and the values that make this parameter active; inactive, the setting keeps its default.
    """

    name: str
    kind: Kind
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    unit: str | None = None
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, value: object, *, where: str) -> Parameter:
        """Read a parameter from its form in a file, e.g. ``{float: [0.1, 2], log: true}`` or ``[16, 32]``.

        Raises:
            ConfigurationError: If a key or value is unknown or not allowed.
        """
        if isinstance(value, list):
            value = {"choice": value}
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"{where}: a parameter is a list of choices, or a mapping with {', '.join(_KINDS)}; not {value!r}."
            )
        kind = _kind(value, where)
        for key in value:
            if key not in (kind, *_KEYS[kind]):
                raise UnknownNameError(f"key of {kind}", str(key), (kind, *_KEYS[kind]), where=where)
        when = _conditions(value.get("when", {}), where)
        if kind == "choice":
            return cls(name, kind, choices=_choices(value[kind], where), when=when)
        return _range(name, kind, value, when, where)

    @property
    def values(self) -> list[Any] | None:
        """All values in order; None for an infinite range."""
        if self.kind == "choice":
            return list(self.choices)
        step = 1 if self.kind == "int" and self.step is None else self.step
        if step is None or (self.high - self.low) / step > _MAX_VALUES:
            return None
        values = [self.low + index * step for index in range(self._n_values(step))]
        return [int(value) for value in values] if self.kind == "int" else values

    def draw(self, random: Random) -> Any:
        """Return a random value; all values, or all parts of a range without a step, are equally probable."""
        if self.kind == "choice":
            return random.choice(self.choices)
        step = 1 if self.kind == "int" and self.step is None else self.step
        if step is None:
            return random.uniform(self.low, self.high)
        value = self.low + step * random.randint(0, self._n_values(step) - 1)
        return int(value) if self.kind == "int" else value

    def setting(self, value: Any) -> Any:
        """Return a value as the splitter's setting."""
        return f"{value} {self.unit}" if self.unit else value

    def read(self, setting: Any) -> Any:
        """Return the value of a splitter's setting.

        Raises:
            ValueError: If it is outside the parameter's range or choices.
        """
        if self.kind == "choice":
            return self._read_choice(setting)
        number = _without_unit(setting, self.unit)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{setting!r} is no number")
        value = int(number) if self.kind == "int" else float(number)
        slack = _NEAR * (self.high - self.low)
        if value != number or not self.low - slack <= value <= self.high + slack:
            raise ValueError(f"{setting!r} lies outside {self.low:g} to {self.high:g}")
        if self.step is not None and abs(_off_grid(value, self.low, self.step)) > 1e-6:
            raise ValueError(f"{setting!r} is no multiple of {self.step:g} from {self.low:g} on")
        return value

    def _n_values(self, step: float) -> int:
        return math.floor((self.high - self.low) / step + _NEAR) + 1

    def _read_choice(self, setting: Any) -> Any:
        for choice in self.choices:
            if same_value(choice, setting):
                return choice
        raise ValueError(f"{setting!r} is none of {list(self.choices)}")

    def is_active(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the parameter is searched, given the other settings."""
        return all(any(same_value(value, settings.get(key)) for value in wanted) for key, wanted in self.when.items())


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values of a file are equal: 1 and 1.0 are, 1 and true are not."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) or (numbers and one == other)


def _off_grid(value: float, low: float, step: float) -> float:
    steps = (value - low) / step
    return steps - round(steps)


def _without_unit(setting: Any, unit: str | None) -> Any:
    if unit is None:
        return setting
    match = re.fullmatch(rf"\s*(\d+)\s*{unit.removesuffix('s')}s?\s*", str(setting))
    if match is None:
        raise ValueError(f"{setting!r} is no number of {unit}")
    return int(match[1])


def _kind(value: Mapping[Any, Any], where: str) -> Kind:
    given = [kind for kind in _KINDS if kind in value]
    if not given:
        unknown = next((str(key) for key in value if key not in ("log", "step", "unit", "when")), "")
        if unknown:
            raise UnknownNameError("kind of parameter", unknown, _KINDS, where=where)
        raise ConfigurationError(f"{where}: one of {', '.join(_KINDS)} is missing; for example {{int: [2, 8]}}.")
    if len(given) > 1:
        raise ConfigurationError(f"{where}: a parameter has one kind, not {' and '.join(given)}; choose one.")
    return given[0]


def _conditions(value: object, where: str) -> dict[str, tuple[Any, ...]]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: 'when' holds settings and values, e.g. {{rescue: true}}; not {value!r}.")
    return {str(key): tuple(wanted) if isinstance(wanted, list) else (wanted,) for key, wanted in value.items()}


def _choices(value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigurationError(f"{where}: 'choice' is a list with one value at least; not {value!r}.")
    for index, choice in enumerate(value):
        if any(same_value(choice, other) for other in value[:index]):
            raise ConfigurationError(f"{where}: the choice {choice!r} appears twice; leave one out.")
    return tuple(value)


def _range(
    name: str, kind: Kind, value: Mapping[Any, Any], when: Mapping[str, tuple[Any, ...]], where: str
) -> Parameter:
    low, high = _bounds(kind, value[kind], where)
    log, step, unit = value.get("log", False), value.get("step"), value.get("unit")
    if not isinstance(log, bool):
        raise ConfigurationError(f"{where}: 'log' is true or false, not {log!r}.")
    if log and low <= 0:
        raise ConfigurationError(f"{where}: a logarithmic range begins above 0, not at {low:g}; leave 'log' out.")
    if step is not None:
        _check_number(kind, step, "step", where)
        if step <= 0 or low + step > high + _NEAR:
            raise ConfigurationError(f"{where}: the step {step!r} must be above 0 and fit into {low:g} to {high:g}.")
        if log:
            raise ConfigurationError(f"{where}: 'log' and 'step' exclude each other; leave one out.")
    if unit is not None and unit not in _UNITS:
        raise UnknownNameError("unit", str(unit), _UNITS, where=where)
    return Parameter(name, kind, low, high, log, step, unit, when=when)


def _bounds(kind: Kind, value: object, where: str) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ConfigurationError(f"{where}: a range is [lowest, highest], not {value!r}.")
    low, high = value
    for bound in (low, high):
        _check_number(kind, bound, "bound", where)
    if low >= high:
        way_out = f"write [{high!r}, {low!r}]" if low > high else "put the one value among the splitter's settings"
        raise ConfigurationError(f"{where}: the range [{low!r}, {high!r}] is upside down or empty; {way_out}.")
    return low, high


def _check_number(kind: Kind, value: object, what: str, where: str) -> None:
    allowed = int if kind == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not math.isfinite(value):
        raise ConfigurationError(f"{where}: a {what} of {kind!r} is a finite {kind}, not {value!r}.")
