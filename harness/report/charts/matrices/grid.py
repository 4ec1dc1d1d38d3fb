"""Grids of named lines and columns on numeric axes, with room for a second grid or for lines beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.report.charts.chart import Spec
from harness.text import printable

END_OF_CELL: list[Spec] = [{"calculate": "datum.x + 1", "as": "x2"}, {"calculate": "datum.y + 1", "as": "y2"}]
"""Transforms that go with the channels of ``cell_channels``."""


def cell_channels(columns: Spec, lines: Spec) -> Spec:
    """Return the channels that draw a rectangle for each record, from its fields ``x`` and ``y``, a unit wide and high.

    Args:
        columns: The horizontal axis, see ``named_axis``.
        lines: The vertical axis.
    """
    return {"x": {"field": "x", **columns}, "x2": {"field": "x2"}, "y": {"field": "y", **lines}, "y2": {"field": "y2"}}


def named_axis(
    names: Sequence[str], *, starts: Sequence[int] = (0,), end: float | None = None, downwards: bool = False
) -> Spec:
    """Return an axis with a name for each unit of length.

    Args:
        names: The names.
        starts: Where each grid begins, at even distances; all have the same names.
        end: The end of the axis, if it is not that of the last name.
        downwards: Whether the axis is vertical, its first name on top.
    """
    n, period = len(names), starts[1] if len(starts) > 1 else len(names)
    # The names stand in an expression, as JSON's texts; they are made printable first, while they are still texts.
    known = json.dumps([printable(name) for name in names])
    angle = {} if downwards else {"labelAngle": 0 if max(map(len, names)) <= 2 else -45, "labelLimit": 90}
    return {
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, starts[-1] + n if end is None else end], "nice": False, "reverse": downwards},
        "axis": {
            "values": [start + at + 0.5 for start in starts for at in range(n)],
            "labelExpr": f"{known}[floor(datum.value) % {period}]",
            "tickCount": n * len(starts),  # Vega thins out values beyond the count that the theme sets
            "labelOverlap": "greedy", "labelSeparation": 1, "labelFlush": False,
            "grid": False, "ticks": False, "domain": False, **angle,
        },
    }  # fmt: skip
