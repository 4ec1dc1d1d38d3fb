"""What tells methods apart on paper and on screen: a colour, a shape and a dash, the same in every chart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from splitters.methods.protocol import SPLITTERS

LIGHT: Mapping[str, str] = {
    "series-1": "#0072b2",
    "series-2": "#c44e00",
    "series-3": "#00805f",
    "series-4": "#a8518a",
    "series-5": "#a86f00",
    "series-6": "#2b83b8",
    "series-7": "#7d7400",
    "series-8": "#5c5c66",
    "text": "#1b1f24",
    "muted": "#59616b",
    "rule": "#c9ced6",
    "grid": "#eceef1",
    "mark": "#3d444d",
    "paper": "#ffffff",
}
"""Colours on a light page, by the names of their CSS variables: the hues of Okabe and Ito, dark enough for white."""

DARK: Mapping[str, str] = {
    "series-1": "#56a8e8",
    "series-2": "#f0803c",
    "series-3": "#2fc39a",
    "series-4": "#e095c3",
    "series-5": "#f0b13c",
    "series-6": "#8fd3f7",
    "series-7": "#e3d94e",
    "series-8": "#b4b8c0",
    "text": "#e6e8eb",
    "muted": "#a3abb5",
    "rule": "#474e57",
    "grid": "#272c33",
    "mark": "#c9cfd6",
    "paper": "#15181c",
}
"""The same on a dark page."""

_N_COLOURS = 8

_SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")

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
        """Return the shape channel; beyond eight methods, a colour returns with another shape."""
        shown = self._ordered(names)
        return _channel(shown, [_SHAPES[_second(self._index[name], len(_SHAPES))] for name in shown])

    def lines(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the channels of lines: colour and dash."""
        shown = self._ordered(names)
        dashes = _channel(shown, [_DASHES[_second(self._index[name], len(_DASHES))] for name in shown])
        legend = {**wrapped_legend(shown), "symbolType": "stroke", "symbolStrokeWidth": 2}
        return {"color": {**self.colours(shown), "legend": legend}, "strokeDash": {**dashes, "legend": legend}}

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
