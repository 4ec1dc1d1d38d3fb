"""What tells methods apart on paper and on screen: a colour, a shape and a dash, the same in every chart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.report.charts.chart import Legend, LegendEntry
from splitters.methods.protocol import SPLITTERS

LIGHT: Mapping[str, str] = {
    "series-1": "#0072b2",
    "series-2": "#c44e00",
    "series-3": "#00805f",
    "series-4": "#c876c1",
    "series-5": "#8c8c8c",
    "series-6": "#3c2ea4",
    "series-7": "#674c36",
    "series-8": "#7a7af5",
    "series-9": "#681053",
    "series-10": "#0f3e02",
    "text": "#1b1f24",
    "muted": "#59616b",
    "rule": "#c9ced6",
    "grid": "#eceef1",
    "mark": "#3d444d",
    "paper": "#ffffff",
}
"""Colours on a light page, by the names of their CSS variables.

The series' colours are as far apart as contrast with the page allows, as seen with normal, protan and deutan vision.
"""

DARK: Mapping[str, str] = {
    "series-1": "#56a8e8",
    "series-2": "#f0803c",
    "series-3": "#2fc39a",
    "series-4": "#a73ea1",
    "series-5": "#d9da26",
    "series-6": "#286ad7",
    "series-7": "#a37f8f",
    "series-8": "#c4d0f3",
    "series-9": "#c33627",
    "series-10": "#456d5f",
    "text": "#e6e8eb",
    "muted": "#a3abb5",
    "rule": "#474e57",
    "grid": "#272c33",
    "mark": "#c9cfd6",
    "paper": "#15181c",
}
"""The same on a dark page."""

_N_COLOURS = 10

SHAPE_PATHS: Mapping[str, str] = {
    "circle": "M4.5,0A4.5,4.5,0,1,1,-4.5,0A4.5,4.5,0,1,1,4.5,0Z",
    "square": "M-4,-4H4V4H-4Z",
    "diamond": "M0,-5.5L5,0L0,5.5L-5,0Z",
    "triangle-up": "M0,-4.5L5.2,4.5H-5.2Z",
    "cross": "M-5,-1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5Z",
    "triangle-down": "M0,4.5L5.2,-4.5H-5.2Z",
    "triangle-right": "M4.5,0L-4.5,5.2V-5.2Z",
    "triangle-left": "M-4.5,0L4.5,5.2V-5.2Z",
}
"""Vega's shapes as paths around the origin, for legends."""

_SHAPES = tuple(SHAPE_PATHS)

_DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [4, 4], [10, 3], [1, 3], [6, 2, 1, 2])


def gradient(colours: Sequence[str], n: int) -> list[str]:
    """Return n colours at even steps along a list of colours."""
    found = []
    for step in range(n):
        at = step * (len(colours) - 1) / max(1, n - 1)
        low = min(int(at), len(colours) - 2)
        ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours[low : low + 2]]
        parts = [round(one + (other - one) * (at - low)) for one, other in zip(*ends, strict=True)]
        found.append("#" + "".join(f"{part:02x}" for part in parts))
    return found


class Methods:
    """The methods of a report.

    Splitters that are registered come first, in the registry's order, so that reports of different results agree.

    Args:
        names: The methods' names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        found = set(names)
        order = [*SPLITTERS, *sorted(found - set(SPLITTERS))]
        self._index = {name: index for index, name in enumerate(order)}
        self.names = [name for name in order if name in found]

    def colour(self, name: str) -> str:
        """Return the CSS variable of a method's colour."""
        return f"var(--series-{self._index[name] % _N_COLOURS + 1})"

    def colours(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the colour channel of charts whose field ``method`` has these values."""
        shown = self._ordered(names)
        scale = {"domain": shown, "range": [self.colour(name) for name in shown]}
        return {"field": "method", "type": "nominal", "scale": scale, "title": None, "legend": wrapped_legend(shown)}

    def shapes(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the shape channel; beyond ten methods, a colour returns with another shape."""
        shown = self._ordered(names)
        return _channel(shown, [self._shape(name) for name in shown])

    def lines(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the channels of lines: colour and dash."""
        shown = self._ordered(names)
        dashes = _channel(shown, [self._dash(name) for name in shown])
        legend = {**wrapped_legend(shown), "symbolType": "stroke", "symbolStrokeWidth": 2}
        return {"color": {**self.colours(shown), "legend": legend}, "strokeDash": {**dashes, "legend": legend}}

    def legend(self, names: Iterable[str], *, of_lines: bool = False) -> Legend:
        """Return the legend of charts with these methods, as points or as lines."""
        entries = [
            LegendEntry(name, self.colour(name), dash=self._dash(name))
            if of_lines
            else LegendEntry(name, self.colour(name), shape=self._shape(name))
            for name in self._ordered(names)
        ]
        return Legend("method", entries)

    def _shape(self, name: str) -> str:
        return _SHAPES[_second(self._index[name], len(_SHAPES))]

    def _dash(self, name: str) -> list[int]:
        return _DASHES[_second(self._index[name], len(_DASHES))]

    def _ordered(self, names: Iterable[str]) -> list[str]:
        return sorted(set(names), key=lambda name: self._index[name])


def _channel(names: list[str], values: list[Any]) -> dict[str, Any]:
    scale = {"domain": names, "range": values}
    return {"field": "method", "type": "nominal", "scale": scale, "title": None, "legend": wrapped_legend(names)}


def wrapped_legend(names: Iterable[str]) -> dict[str, Any]:
    """Return a legend of these names. Its ``columns`` is the width of one name; ``with_legends`` makes it a number."""
    return {"columns": 6 * max(map(len, names), default=1) + 28, "symbolOpacity": 1}


def with_legends(value: Any, width: float) -> Any:
    """Return a specification whose legends have as many columns as the width has room for."""
    if isinstance(value, Mapping):
        fitted = {name: with_legends(inner, width) for name, inner in value.items()}
        if "columns" in fitted:
            fitted["columns"] = max(1, int(width // fitted["columns"]))
        return fitted
    return [with_legends(inner, width) for inner in value] if isinstance(value, list) else value


def _second(index: int, n: int) -> int:
    """Return the index of a second distinction, which moves on when the colours start again."""
    return (index + index // _N_COLOURS) % n


def with_colours(text: str, colours: Mapping[str, str] = LIGHT) -> str:
    """Return a text with colours in place of CSS variables, for formats without style sheets."""
    return re.sub(r"var\(--([\w-]+)\)", lambda match: colours[match[1]], text)
