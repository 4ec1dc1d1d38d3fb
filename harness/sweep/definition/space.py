"""The search space of one splitter: values of its parameters to settings, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any

from pydantic_core import to_jsonable_python

from benchmarks.cells import SplitterSpec
from harness.config.expand import completed_splitter, settings_of_preset
from harness.sweep.definition.parameter import Parameter, same_value
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.methods.protocol import SPLITTERS

Values = Mapping[str, Any]
"""A point of a space: the values of the parameters that are active in it."""


@dataclass(frozen=True)
class Space:
    """The settings of a splitter that are fixed, and those that are searched.

    Args:
        splitter: The splitter's name.
        label: Its name on screen.
        settings: The fixed settings, and the defaults of the searched ones.
        parameters: The searched settings, each after those that its condition reads.
    """

    splitter: str
    label: str
    settings: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(
        cls,
        splitter: str,
        label: str,
        settings: Mapping[str, Any],
        space: Mapping[str, Any],
        *,
        where: Callable[..., str],
    ) -> Space:
        """Read and check a splitter's space.

        Args:
            splitter: The splitter's name.
            label: Its name on screen.
            settings: Its settings in the file.
            space: Its parameters in the file.
            where: Returns the file, line and key of a parameter, for messages; of the splitter without an argument.

        Raises:
            ConfigurationError: If the splitter, a setting, or a range is unknown or not allowed.
        """
        known = SPLITTERS.get(splitter, where=where()).Settings.model_fields
        completed_splitter(splitter, settings, where=where())
        for name in space:
            if name not in known:
                raise UnknownNameError(f"setting of {splitter}", str(name), known, where=where(name))
        parameters = [Parameter.parse(str(name), value, where=where(name)) for name, value in space.items()]
        for parameter in parameters:
            others = set(known) - {parameter.name}
            for name in parameter.when:
                if name not in others:
                    raise UnknownNameError(
                        f"setting of {splitter}", name, others, where=f"{where(parameter.name)}: when"
                    )
        checked = (_checked(splitter, settings, p, where(p.name)) for p in _ordered(parameters, where))
        parsed = cls(splitter, label, dict(settings), tuple(checked))
        parsed._check_conditions(where)
        return parsed

    def _check_conditions(self, where: Callable[..., str]) -> None:
        for parameter in self.parameters:
            for name, wanted in parameter.when.items():
                for value in wanted:
                    if reason := self._why_never(name, value):
                        raise ConfigurationError(
                            f"{where(parameter.name)}: when: {name} never has the value {value!r} in this sweep: "
                            f"{reason}."
                        )

    def _why_never(self, name: str, value: object) -> str | None:
        """Return why a setting never has a value; None if it may."""
        searched = next((parameter for parameter in self.parameters if parameter.name == name), None)
        fixed = self.base_settings.get(name)
        if (searched is None or searched.when) and same_value(fixed, value):
            return None
        if searched is None:
            return f"it is {fixed!r}, and not searched"
        try:
            searched.read(value)
        except ValueError as error:
            return str(error)
        return None

    @cached_property
    def base(self) -> SplitterSpec:
        """The splitter with its default settings."""
        return completed_splitter(self.splitter, self.settings)

    @cached_property
    def base_settings(self) -> Mapping[str, Any]:
        """All default settings, by name."""
        return _all_settings(self.base)

    @cached_property
    def default(self) -> Values | None:
        """The default settings as a point of the space; None if they are outside."""
        return self.read(self.base)

    def spec(self, values: Values) -> SplitterSpec:
        """Return the splitter at a point.

        Raises:
            ConfigurationError: If the splitter refuses this combination.
        """
        chosen = {p.name: p.setting(values[p.name]) for p in self.parameters if p.name in values}
        return completed_splitter(self.splitter, {**self.settings, **chosen}, where=f"splitter {self.label!r}")

    def choose(self, pick: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Return a point, picking a value for each active parameter in turn."""
        values: dict[str, Any] = {}
        settings = dict(self.base_settings)
        for parameter in self.parameters:
            if parameter.is_active(settings):
                values[parameter.name] = pick(parameter)
                settings[parameter.name] = parameter.setting(values[parameter.name])
        return values

    def read(self, spec: SplitterSpec) -> dict[str, Any] | None:
        """Return the point with these settings; None if there is none, or the splitter's version has changed."""
        if (spec.name, spec.version) != (self.base.name, self.base.version):
            return None
        try:
            settings = _all_settings(spec)
            values = self.choose(lambda parameter: parameter.read(settings.get(parameter.name)))
            return values if self.spec(values) == spec else None
        except (ValueError, ConfigurationError):
            return None

    @cached_property
    def size(self) -> int | None:
        """An upper bound on the number of points, which ignores conditions; None for an infinite space."""
        total = 1
        for parameter in self.parameters:
            if parameter.values is None:
                return None
            total *= len(parameter.values)
        return total

    def points(self) -> Iterator[Values]:
        """Yield all points of a finite space lazily, each once, the first parameter varying slowest."""
        yield from self._points({}, dict(self.base_settings), self.parameters)

    def _points(
        self, values: dict[str, Any], settings: dict[str, Any], remaining: tuple[Parameter, ...]
    ) -> Iterator[Values]:
        if not remaining:
            yield values
            return
        parameter, rest = remaining[0], remaining[1:]
        if not parameter.is_active(settings):
            yield from self._points(values, settings, rest)
            return
        for value in parameter.values or ():
            name = parameter.name
            yield from self._points({**values, name: value}, {**settings, name: parameter.setting(value)}, rest)

    def random_points(self, random: Random) -> Iterator[Values]:
        """Yield random points without end, so that points of a finite space come again."""
        while True:
            yield self.choose(lambda parameter: parameter.draw(random))


def _all_settings(spec: SplitterSpec) -> dict[str, Any]:
    """Return a splitter's settings, including those that its identity leaves out at their defaults."""
    fields = SPLITTERS.get(spec.name).Settings.model_fields
    left_out = {
        name: to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in fields.items()
        if field.exclude_if is not None and name not in spec.settings
    }
    return {**left_out, **spec.settings}


def _checked(splitter: str, settings: Mapping[str, Any], parameter: Parameter, where: str) -> Parameter:
    """Return a parameter with its choices as the splitter's settings normalise them.

    Raises:
        ConfigurationError: If the splitter refuses one of its values by itself.
    """
    ends = parameter.choices if parameter.kind == "choice" else (parameter.low, parameter.high)
    normalised = []
    for value in ends:
        given = {**settings, parameter.name: parameter.setting(value)}
        try:
            normalised.append(_all_settings(completed_splitter(splitter, given, where=where))[parameter.name])
        except ConfigurationError as error:
            # A value may be refused with the other settings as they are, and accepted with others: no error yet.
            is_unknown = parameter.name == "preset" and not settings_of_preset(splitter, value, where=where)
            if is_unknown or str(error).startswith(f"{where}: {parameter.name}"):
                raise
            normalised.append(value)
    return replace(parameter, choices=tuple(normalised)) if parameter.kind == "choice" else parameter


def _ordered(parameters: list[Parameter], where: Callable[..., str]) -> tuple[Parameter, ...]:
    """Return the parameters, each after those that its condition reads."""
    names = {parameter.name for parameter in parameters}
    ordered: list[Parameter] = []
    left = list(parameters)
    while left:
        placed = {parameter.name for parameter in ordered}
        ready = [p for p in left if all(name in placed or name not in names for name in p.when)]
        if not ready:
            circle = ", ".join(parameter.name for parameter in left)
            raise ConfigurationError(f"{where(left[0].name)}: the conditions of {circle} lead in a circle.")
        ordered += ready
        left = [parameter for parameter in left if parameter not in ready]
    return tuple(ordered)
