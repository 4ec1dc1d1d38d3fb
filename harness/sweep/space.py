"""The search space of one splitter: from values to settings, and back from settings to values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from benchmarks.cells import SplitterSpec
from harness.expand import completed_splitter
from harness.sweep.parameters import Parameter, same_value
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.methods.protocol import SPLITTERS

Values = Mapping[str, Any]
"""What a configuration gives the parameters that are active in it."""


@dataclass(frozen=True)
class Space:
    """A splitter, what stays fixed of its settings, and what is searched.

    Args:
        splitter: The splitter's name.
        label: What it is called on screen.
        settings: What stays fixed, and the default of what is searched.
        parameters: What is searched; each after those that it depends on.
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
        """Reads and checks a splitter's space.

        Args:
            splitter: The splitter's name.
            label: What it is called on screen.
            settings: Its settings in the file.
            space: What the file says of each parameter.
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
        ordered = _ordered(parameters, where)
        checked = (_checked(splitter, settings, parameter, where(parameter.name)) for parameter in ordered)
        parsed = cls(splitter, label, dict(settings), tuple(checked))
        parsed._check_conditions(where)
        return parsed

    def _check_conditions(self, where: Callable[..., str]) -> None:
        """Checks that every value that a condition asks for can be had.

        Raises:
            ConfigurationError: If one never is.
        """
        for parameter in self.parameters:
            for name, wanted in parameter.when.items():
                for value in wanted:
                    why = self._why_never(name, value)
                    if why is not None:
                        raise ConfigurationError(
                            f"{where(parameter.name)}: when: {name} never has the value {value!r} in this sweep: {why}."
                        )

    def _why_never(self, name: str, value: object) -> str | None:
        """Returns why a setting never has a value; None if it may."""
        searched = next((parameter for parameter in self.parameters if parameter.name == name), None)
        fixed = self.base.settings.get(name)
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
        """The splitter with its settings where nothing is searched."""
        return completed_splitter(self.splitter, self.settings)

    @cached_property
    def default(self) -> Values | None:
        """The base settings as values of the parameters; None where they lie outside the space."""
        return self.read(self.base)

    def spec(self, values: Values) -> SplitterSpec:
        """Returns the splitter with these values.

        Raises:
            ConfigurationError: If the splitter refuses their combination.
        """
        chosen = {p.name: p.setting(values[p.name]) for p in self.parameters if p.name in values}
        return completed_splitter(self.splitter, {**self.settings, **chosen}, where=f"splitter {self.label!r}")

    def choose(self, pick: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Returns values for all parameters that are active, asking for one after the other."""
        values: dict[str, Any] = {}
        settings = dict(self.base.settings)
        for parameter in self.parameters:
            if parameter.is_active(settings):
                values[parameter.name] = pick(parameter)
                settings[parameter.name] = parameter.setting(values[parameter.name])
        return values

    def read(self, spec: SplitterSpec) -> dict[str, Any] | None:
        """Returns the values that lead to a splitter's settings; None if none do, or the splitter has changed since."""
        if (spec.name, spec.version) != (self.base.name, self.base.version):
            return None
        try:
            values = self.choose(lambda parameter: parameter.read(spec.settings.get(parameter.name)))
            return values if self.spec(values) == spec else None
        except (ValueError, ConfigurationError):
            return None

    @cached_property
    def size(self) -> int | None:
        """How many points the space has at most; None if it is endless. Conditions are left out of the count."""
        total = 1
        for parameter in self.parameters:
            values = parameter.values
            if values is None:
                return None
            total *= len(values)
        return total

    def points(self) -> Iterator[dict[str, Any]]:
        """Yields all points of a space that is not endless, each once, the first parameter changing slowest."""
        yield from self._points({}, dict(self.base.settings), self.parameters)

    def _points(
        self, values: dict[str, Any], settings: dict[str, Any], left: tuple[Parameter, ...]
    ) -> Iterator[dict[str, Any]]:
        if not left:
            yield values
            return
        parameter, *rest = left
        if not parameter.is_active(settings):
            yield from self._points(values, settings, tuple(rest))
            return
        for value in parameter.values or ():
            name = parameter.name
            yield from self._points({**values, name: value}, {**settings, name: parameter.setting(value)}, tuple(rest))


def _checked(splitter: str, settings: Mapping[str, Any], parameter: Parameter, where: str) -> Parameter:
    """Returns a parameter with its choices as the settings write them.

    Raises:
        ConfigurationError: If the splitter refuses one of its values for its own sake.
    """
    ends = parameter.choices if parameter.kind == "choice" else (parameter.low, parameter.high)
    written, refusals = [], []
    for value in ends:
        given = {**settings, parameter.name: parameter.setting(value)}
        try:
            written.append(completed_splitter(splitter, given, where=where).settings[parameter.name])
        except ConfigurationError as error:
            written.append(value)
            refusals.append(error)
    # A value may be impossible with the other settings as they are, and possible with others: that is no error here.
    for refusal in refusals:
        if str(refusal).startswith(f"{where}: {parameter.name}"):
            raise refusal
    return replace(parameter, choices=tuple(written)) if parameter.kind == "choice" else parameter


def _ordered(parameters: list[Parameter], where: Callable[..., str]) -> tuple[Parameter, ...]:
    """Returns the parameters with each after those that its condition reads."""
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
