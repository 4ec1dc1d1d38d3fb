"""A chart: a Vega-Lite specification, and the words that a reader needs beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FADED = 0.12
"""Opacity of what a reader has turned off in a legend."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart.

    Args:
        name: Unique in a report; names the figure's file.
        title: What it shows.
        caption: How to read it, how it was computed, and what is left out.
        spec: The specification, without size and theme; colours are CSS variables.
        height: Height in pixels on screen; None where the specification sets it.
    """

    name: str
    title: str
    caption: str
    spec: Spec
    height: int | None = 280


def dataset(values: Iterable[Mapping[str, Any]]) -> Spec:
    """Return data for a specification."""
    return {"values": [dict(record) for record in values]}


def quantity(field: str, title: str, **more: Any) -> Spec:
    """Return a channel of numbers; axes do not begin at zero unless ``scale`` says so."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "nice": True}, **more}


def tooltip(**titles: str) -> list[Spec]:
    """Return the tooltip channel: titles by field."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def legend_toggle(name: str = "shown") -> Spec:
    """Return the parameter that lets readers single out methods by their legend."""
    return {"name": name, "select": {"type": "point", "fields": ["method"]}, "bind": "legend"}


def faded_unless_shown(opacity: float, name: str = "shown") -> Spec:
    """Return the opacity channel that goes with ``legend_toggle``."""
    return {"condition": {"param": name, "value": opacity, "empty": True}, "value": min(opacity, FADED)}


def sampled_note(shown: int, total: int, what: str) -> str:
    """Return a sentence for captions of charts that leave some items out; empty if none is left out."""
    return (
        f" {shown:,} of {total:,} {what} are drawn, evenly spaced; fronts and means are of all."
        if shown < total
        else ""
    )
