"""What accuracy costs: every cell as a point, each method's front, and the states that its search recorded."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.boards import Board
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import (
    Chart,
    Spec,
    dataset,
    faded_unless_shown,
    quantity,
    sampled_note,
    tooltip,
)
from harness.report.data import Measurements, ReportData, spread
from harness.suite_cell import ID_LENGTH
from harness.views.leaderboards.entry_text import described_variant

MAX_POINTS = 1000
"""Points of one chart; all of them still count in fronts."""

MAX_PATHS = 30
"""Searches of one chart whose recorded states are drawn."""

_COSTS = ("kernel_retention", "flops_retention_sum", "flops_retention", "param_retention_sum", "latency_ratio")
"""Measures of what a composed model costs, the most telling first."""

_MAX_COSTS = 2

_MIN_POINTS = 3

_TITLES = {
    "kernel_retention": "kernels kept, %",
    "flops_retention_sum": "FLOPs of all modules, % of the base model",
    "flops_retention": "FLOPs of a module, % of the base model",
    "param_retention_sum": "parameters of all modules, % of the base model",
    "latency_ratio": "latency, multiples of the base model's",
}

_SUBJECTS = {
    "kernel_retention": "kernels",
    "flops_retention_sum": "FLOPs",
    "flops_retention": "FLOPs",
    "param_retention_sum": "parameters",
    "latency_ratio": "latency",
}

_SYMLOG_FROM = 20.0
"""Where the worst value is above this many points, and most are far below, the axis is logarithmic around zero."""


@dataclass(frozen=True)
class _Cell:
    """A point of a chart.

    Args:
        row: The index of its row.
        entry: The entry of the leaderboard that it counts for.
        x: Its cost, in the axis's unit.
        y: The measure that ranks, in the axis's unit.
    """

    row: int
    entry: Entry
    x: float
    y: float


def pareto_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield a section's charts, one per measure of cost; none for scenarios that measure none."""
    known = [name for name in _COSTS if name in section.board.measures]
    if not known:
        return
    measured = list(data.measurements(section))
    is_ranked = [~np.isnan(item.means(section.sort)) for item in measured]
    if sum(np.count_nonzero(ranked) for ranked in is_ranked) < _MIN_POINTS:
        return
    of_costs = ((cost, list(_cells(measured, cost, section))) for cost in known)
    for cost, cells in islice(((cost, cells) for cost, cells in of_costs if cells), _MAX_COSTS):
        yield _chart(data, number, section, cost, cells)


def _cells(measured: Iterable[Measurements], cost: str, section: Section) -> Iterator[_Cell]:
    """Yield the cells that have a cost and the measure that ranks."""
    x_scale, y_scale = 1.0 if cost == "latency_ratio" else 100.0, measure_scale(section.board, section.sort)
    for item in measured:
        columns = (item.rows, item.means(cost), item.means(section.sort))
        for row, x, y in zip(*(column.tolist() for column in columns), strict=True):
            if not math.isnan(x) and not math.isnan(y):
                yield _Cell(row, item.entry, round(x_scale * x, 3), round(y_scale * y, 3))


def _chart(data: ReportData, number: int, section: Section, cost: str, cells: Sequence[_Cell]) -> Chart:
    higher_is_better = section.board.better(section.sort) == "higher"
    names = [data.method_of_rows[cell.row] for cell in cells]
    is_searched = cost == "kernel_retention" and section.sort.endswith("accuracy_loss")
    paths = _paths(data, [cell.row for cell in cells]) if is_searched else []
    y_scale = value_axis([*(cell.y for cell in cells), *(point["y"] for point in paths)])
    y = quantity("y", measure_title(section.board, section.sort), **y_scale)
    x = quantity("x", _TITLES[cost])
    colour = data.methods.colours(names)
    shown = [_point(data, cell, section) for cell in spread(cells, MAX_POINTS)]
    details = tooltip(
        method="method", setting="settings", variant="variant", seed="seed", x=_TITLES[cost], y=y["title"], cell="cell"
    )
    layers: list[Spec] = []
    if paths:
        layers.append(
            {
                "data": dataset(paths),
                "mark": {"type": "line", "strokeWidth": 1, "interpolate": "linear", "tooltip": None},
                "encoding": {
                    "x": x, "y": y, "color": colour, "detail": {"field": "path"}, "order": {"field": "step"},
                    "opacity": faded_unless_shown(0.35),
                },
            }
        )  # fmt: skip
    layers += [
        {
            "data": dataset(_fronts(zip(names, cells, strict=True), higher_is_better)),
            "mark": {"type": "line", "strokeWidth": 2, "interpolate": "step-after", "tooltip": None},
            "encoding": {
                "x": x, "y": y, "color": colour, "order": {"field": "x"}, "opacity": faded_unless_shown(0.9),
            },
        },
        {
            "data": dataset(shown),
            "mark": {"type": "point", "filled": True, "size": 60 if len(shown) < 200 else 25, "cursor": "pointer"},
            "encoding": {
                "x": x, "y": y, "color": colour, "shape": data.methods.shapes(names), "tooltip": details,
                "opacity": faded_unless_shown(0.85 if len(shown) < 200 else 0.5),
            },
        },
    ]  # fmt: skip
    corner = "upper" if higher_is_better else "lower"
    caption = (
        f"Each point is a cell; the line is its method’s Pareto front; the {corner} left corner is best. "
        + ("Faint lines are the states that a search recorded, measured on select images. " if paths else "")
        + ("The vertical axis is logarithmic away from zero." if "axis" in y else "")
        + sampled_note(len(shown), len(cells), "cells")
    )
    title = f"{section.title}: {_SUBJECTS[cost]}"
    legend = data.methods.legend(names)
    return Chart(f"pareto-{number}-{cost}", title, caption.strip(), {"layer": layers}, 320, legend)


def measure_title(board: Board, measure: str) -> str:
    """Return a measure's axis title."""
    units = {column.measure: column.unit for column in board.columns}
    unit = units.get(measure)
    suffix = {"%": ", %", "points": ", points"}.get(unit or "", "")
    return f"{measure.replace('_', ' ')}{suffix}"


def measure_scale(board: Board, measure: str) -> float:
    """Return by what a measure is multiplied for axes: 100 for fractions."""
    units = {column.measure: column.unit for column in board.columns}
    is_fraction = units.get(measure) in ("%", "points") or measure.endswith(("_accuracy", "_retention", "_loss"))
    return 100.0 if is_fraction else 1.0


def _point(data: ReportData, cell: _Cell, section: Section) -> dict[str, Any]:
    variant = described_variant(section, cell.entry)
    return {
        "x": cell.x,
        "y": cell.y,
        "method": data.method_of_rows[cell.row],
        "setting": data.settings[cell.row],
        **({"variant": variant} if variant else {}),
        "seed": data.seeds[cell.row],
        "cell": data.cell_ids[cell.row][:ID_LENGTH],
    }


def value_axis(values: Sequence[float]) -> Spec:
    """Return the scale of an axis, and its ticks: logarithmic around zero where a few values dwarf the others."""
    sizes = sorted(abs(value) for value in values)
    if not sizes or sizes[-1] <= _SYMLOG_FROM or sizes[len(sizes) // 4] >= sizes[-1] / 4:
        return {"scale": {"zero": False, "nice": True}}
    domain = [min(0.0, 1.3 * min(values)), max(0.0, 1.3 * max(values))]
    return {
        "scale": {"type": "symlog", "constant": 1, "domain": domain, "nice": False},
        "axis": {"values": [-100, -30, -10, -3, -1, 0, *(10**n * factor for n in range(6) for factor in (1, 3))]},
    }


def _fronts(cells: Iterable[tuple[str, _Cell]], higher_is_better: bool) -> Iterator[dict[str, Any]]:
    """Yield the points of each method that no other of its points beats in both measures.

    Args:
        cells: Cells after their methods.
        higher_is_better: Whether larger values of the measure that ranks are better.
    """
    by_method: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    sign = -1 if higher_is_better else 1
    for method, cell in cells:
        by_method[method].append((cell.x, sign * cell.y))
    for method, costs in by_method.items():
        best = math.inf
        for x, y in sorted(costs):
            if y < best:
                best = y
                yield {"method": method, "x": x, "y": sign * y}


def _paths(data: ReportData, rows: Sequence[int]) -> list[dict[str, Any]]:
    searched = [row for row, n_states in zip(rows, data.n_states[rows].tolist(), strict=True) if n_states > 1]
    shown = spread(searched, MAX_PATHS)
    return [
        {
            "method": data.method_of_rows[row],
            "path": data.cell_ids[row][:ID_LENGTH],
            "step": step,
            "x": round(100 * state.retention, 3),
            "y": round(100 * state.loss, 3),
        }
        for row, states in zip(shown, data.recorded_states(shown), strict=True)
        for step, state in enumerate(states)
    ]
