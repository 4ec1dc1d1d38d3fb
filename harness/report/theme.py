"""How charts look: one theme for the page and for figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.report.charts.chart import Chart, Spec
from harness.report.methods import LIGHT, with_colours, with_legends
from harness.text import printable

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

FIGURE_WIDTH = 240
"""Width of figures in points: a column of a two-column paper (84 mm)."""

_FIGURE_HEIGHT = 0.62
"""Height of a figure whose height is free, as a share of its width."""


def screen_spec(chart: Chart) -> Spec:
    """Return a chart's specification for the page: as wide as its figure, in the page's colours."""
    config = _config(size=12, font="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif")
    spec = _shown(chart.spec)
    return {
        "$schema": _SCHEMA,
        **(_without_legends(spec, chart.legend.field) if chart.legend else spec),
        **({"params": _shown(chart.parameters)} if chart.parameters else {}),
        "width": "container",
        **({"height": chart.height} if chart.height else {}),
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "transparent",
        "config": config,
    }


def figure_spec(chart: Chart) -> Spec:
    """Return a chart's specification for a paper's column, on white."""
    config = _config(size=7, font="Arial, Helvetica, sans-serif")
    height = round(FIGURE_WIDTH * _FIGURE_HEIGHT) if (chart.height or 0) >= 240 else round(0.6 * (chart.height or 200))
    spec = {
        "$schema": _SCHEMA,
        **_smaller(_shown(chart.spec)),
        **({"params": _shown(chart.parameters)} if chart.parameters else {}),
        "width": FIGURE_WIDTH,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "white",
        "config": config,
    }
    found: Spec = with_legends(json.loads(with_colours(json.dumps(spec), LIGHT)), 1.5 * FIGURE_WIDTH)
    return found


def _shown(value: Any) -> Any:
    """Return a specification in which every text is safe to show; names that an order lists stay those of the data."""
    if isinstance(value, Mapping):
        return {name: _shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def _without_legends(value: Any, field: str) -> Any:
    """Return a specification without the legends of a field."""
    if isinstance(value, Mapping):
        inner = {name: _without_legends(part, field) if name != "values" else part for name, part in value.items()}
        return {**inner, "legend": None} if "legend" in inner and inner.get("field") == field else inner
    return [_without_legends(part, field) for part in value] if isinstance(value, list) else value


def _smaller(spec: Mapping[str, Any]) -> Spec:
    """Return a specification with marks in the proportion of smaller text."""

    def shrunk(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: shrunk(inner, name) if name != "data" else inner for name, inner in value.items()}
        if isinstance(value, list):
            return [shrunk(inner) for inner in value]
        if key in ("size", "strokeWidth", "thickness") and isinstance(value, int | float):
            return value * (0.35 if key == "size" else 0.6)
        return value

    shrunk_spec: Spec = shrunk(spec)
    return shrunk_spec


def _config(*, size: int, font: str) -> Spec:
    text = {"labelColor": "var(--muted)", "titleColor": "var(--text)", "titleFontWeight": "normal"}
    sizes = {"labelFontSize": size - 1, "titleFontSize": size}
    return {
        "font": font,
        "view": {"stroke": None},
        "axis": {
            **text, **sizes, "gridColor": "var(--grid)", "domainColor": "var(--rule)", "tickColor": "var(--rule)",
            "titlePadding": 0.7 * size, "labelPadding": 4, "labelLimit": 13 * size,
        },
        "axisNominal": {"grid": False},
        "axisXQuantitative": {"tickCount": {"expr": f"ceil(width / {6 * size})"}},
        "axisQuantitative": {"labelOverlap": "greedy", "labelSeparation": 0.7 * size},
        "legend": {
            **text, **sizes, "orient": "top", "direction": "horizontal", "labelLimit": 15 * size,
            "symbolSize": 7 * size, "columnPadding": size,
            "symbolBaseFillColor": "var(--mark)", "symbolBaseStrokeColor": "var(--mark)", "offset": 4,
        },
        "line": {"strokeCap": "round", "strokeJoin": "round"},
        "point": {"strokeWidth": size / 10},
        "text": {"fontSize": size - 1},
    }  # fmt: skip
