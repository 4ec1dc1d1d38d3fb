"""A chart: a Vega-Lite specification, and the words that a reader needs beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FADED = 0.12
"""Opacity of what a reader has turned off in a legend."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class LegendEntry:
    """What a legend says of one name.

    Args:
        name: The name, a value of the legend's field.
        colour: Its colour.
        shape: The shape of its points; None for lines.
        dash: The dashes of its lines; None for points.
    """

    name: str
    colour: str
    shape: str | None = None
    dash: Sequence[int] | None = None


@dataclass(frozen=True)
class Legend:
    """A legend that the page draws as buttons, which single out what they name; figures have Vega's.

    Args:
        field: The field whose values are named.
        entries: What is named, in order.
    """

    field: str
    entries: Sequence[LegendEntry]


@dataclass(frozen=True)
class Choice:
    """A menu of the page; the chart's parameter ``choice`` is what is chosen, at first and in figures the first option.

    Args:
        label: What is chosen.
        options: What there is.
    """

    label: str
    options: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """One chart.

    Args:
        name: Unique in a report; names the figure's file.
        title: What it shows.
        caption: How to read it, how it was computed, and what is left out.
        spec: The specification, without size and theme; colours are CSS variables.
        height: Height in pixels on screen; None where the specification sets it.
        legend: The legend that singles out its entries, if any; the specification's marks are ``faded_unless_shown``.
        choice: The menu that chooses what is drawn, if any.
    """

    name: str
    title: str
    caption: str
    spec: Spec
    height: int | None = 280
    legend: Legend | None = None
    choice: Choice | None = None

    @property
    def parameters(self) -> list[Spec]:
        """The specification's parameters: what legend and menu set."""
        shown = [{"name": "shown", "value": []}] if self.legend else []
        return [*shown, *([{"name": "choice", "value": self.choice.options[0]}] if self.choice else [])]


def dataset(values: Iterable[Mapping[str, Any]]) -> Spec:
    """Return data for a specification."""
    return {"values": [dict(record) for record in values]}


def quantity(field: str, title: str, **more: Any) -> Spec:
    """Return a channel of numbers; axes do not begin at zero unless ``scale`` says so."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "nice": True}, **more}


def whole_numbers(values: Iterable[int]) -> Spec:
    """Return the axis of a channel of counts, which has no ticks between whole numbers, and at most a dozen."""
    counts = list(values)
    low, high = min(counts), max(counts)
    steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    step = next(step for step in steps if high - low <= 11 * step)
    first = low if step == 1 else -(-low // step) * step
    return {"axis": {"values": list(range(first, high + 1, step)), "format": ",d"}}


def tooltip(**titles: str) -> list[Spec]:
    """Return the tooltip channel: titles by field."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def faded_unless_shown(opacity: float, field: str = "method", *, faded: float = FADED) -> Spec:
    """Return the opacity channel of marks that a ``Legend`` of this field singles out."""
    test = f"!length(shown) || indexof(shown, datum.{field}) >= 0"
    return {"condition": {"test": test, "value": opacity}, "value": min(opacity, faded)}


def sampled_note(shown: int, total: int, what: str) -> str:
    """Return a sentence for captions of charts that leave some items out; empty if none is left out."""
    return (
        f" {shown:,} of {total:,} {what} are drawn, evenly spaced; fronts and means are of all."
        if shown < total
        else ""
    )
