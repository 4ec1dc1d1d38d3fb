"""How searches went: accuracy and kernels over steps and seconds, and the sensitivity of layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.rows.row import Row
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import (
    Chart,
    Legend,
    LegendEntry,
    Spec,
    dataset,
    faded_unless_shown,
    quantity,
    tooltip,
    whole_numbers,
)
from harness.report.charts.pareto import value_axis
from harness.report.data import ReportData, spread
from harness.report.methods import gradient, wrapped_legend
from harness.suite_cell import ID_LENGTH

MAX_CURVES = 8
"""Curves of single cells per method."""

_FIGURES = (
    ("accuracy", "step", "accuracy on select, %", "round or generation"),
    ("accuracy", "seconds", "accuracy on select, %", "seconds since the start"),
    ("kernel_retention", "step", "kernels kept, %", "round or generation"),
    ("kernel_retention", "seconds", "kernels kept, %", "seconds since the start"),
)
"""Figure, what it is drawn against, and the titles of both."""

_DEPTHS = ["#d99a26", "#dd7f45", "#d4627a", "#b065b8", "#8273d6", "#4f8ae0"]
"""From the first layer to the last; each is seen on white and on black."""


def learning_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield what the splitters reported for the steps of their searches, against steps and against time."""
    by_method = {name: np.array(rows)[data.is_first_of_split[rows]] for name, rows in data.by_method(section).items()}
    for figure, against, unit, axis in _FIGURES:
        curves: list[dict[str, Any]] = []
        shown = total = 0
        for method, rows in by_method.items():
            searched = rows[data.n_steps(*_figures(figure, against))[rows] > 1].tolist()
            total += len(searched)
            sample = spread(searched, MAX_CURVES)
            curves += _curves(data, method, sample, figure, against)
            shown += len(sample)
        if not curves:
            continue
        names, places = [curve["method"] for curve in curves], [curve["x"] for curve in curves]
        scale = whole_numbers(places) if against == "step" else value_axis(places)
        encoding = {
            "x": quantity("x", axis, **scale),
            "y": quantity("y", unit),
            **data.methods.lines(names),
        }
        means = list(_means(curves, against))
        layers: list[Spec] = [
            {
                "data": dataset(curves),
                "mark": {"type": "line", "strokeWidth": 1, "point": {"size": 14}},
                "encoding": {
                    **encoding, "detail": {"field": "curve"}, "opacity": faded_unless_shown(0.45 if means else 0.8),
                    "tooltip": tooltip(method="method", seed="seed", x=axis, y=unit, cell="cell"),
                },
            }
        ]  # fmt: skip
        if means:
            layers.append(
                {
                    "data": dataset(means),
                    "mark": {"type": "line", "strokeWidth": 2.5, "tooltip": None},
                    "encoding": {
                        **encoding, "opacity": faded_unless_shown(1),
                    },
                }
            )  # fmt: skip
        caption = "One thin line per split" + ("; the thick line is their mean at each step." if means else ".")
        if shown < total:
            caption += f" {shown} of {total} splits are drawn."
        if against == "seconds" and "axis" in scale:
            caption += " The horizontal axis is logarithmic away from zero."
        subject = "accuracy" if figure == "accuracy" else "kernels"
        title = f"{section.title}: {subject} by {'step' if against == 'step' else 'time'}"
        legend = data.methods.legend(names, of_lines=True)
        yield Chart(f"learning-{number}-{figure}-{against}", title, caption, {"layer": layers}, 240, legend)


def _curves(data: ReportData, method: str, rows: Sequence[int], figure: str, against: str) -> Iterator[dict[str, Any]]:
    """Yield the points of a method's curves, one curve per row."""
    steps = data.steps(rows, *_figures(figure, against))
    places = steps.number if against == "step" else steps.values[against]
    for at, x, y in zip(steps.row.tolist(), places.tolist(), steps.values[figure].tolist(), strict=True):
        yield {
            "method": method,
            "curve": f"{method} {at}",
            "x": x if against == "step" else round(x, 2),
            "y": round(100 * y, 3),
            "seed": data.seeds[rows[at]],
            "cell": data.cell_ids[rows[at]][:ID_LENGTH],
        }


def _figures(figure: str, against: str) -> tuple[str, ...]:
    return (figure,) if against == "step" else (figure, against)


def _means(curves: Sequence[Mapping[str, Any]], against: str) -> Iterator[dict[str, Any]]:
    """Yield the mean of a method's curves at each step that all of them reach; seconds have none in common."""
    if against != "step":
        return
    values: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    n_curves: defaultdict[str, set[str]] = defaultdict(set)
    for point in curves:
        values[point["method"], point["x"]].append(point["y"])
        n_curves[point["method"]].add(point["curve"])
    for (method, x), ys in values.items():
        if len(ys) == len(n_curves[method]) > 1:
            yield {"method": method, "x": x, "y": round(fmean(ys), 3)}


def sensitivity_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield the layers' sensitivity curves, one chart per method that measures them."""
    for index, (method, rows) in enumerate(data.detailed_by_method(section).items()):
        known = [row for row in rows if row.sensitivity and data.is_first_of_split[data.index(row)]]
        layers = [layer.layer for layer in known[0].sensitivity] if known else []
        alike = [row for row in known if [layer.layer for layer in row.sensitivity] == layers]
        if not alike:
            continue
        points, colours = list(_sensitivity_points(alike)), gradient(_DEPTHS, len(layers))
        spec: Spec = {
            "data": dataset(points),
            "mark": {"type": "line", "point": {"size": 22}, "strokeWidth": 1.6},
            "encoding": {
                "x": quantity("x", "share of the layer's kernels kept, %", scale={"zero": False}),
                "y": quantity("y", "composed accuracy on the images searched on, %"),
                "color": {
                    "field": "layer", "type": "ordinal", "sort": layers, "title": None,
                    "scale": {"domain": layers, "range": colours},
                    "legend": {**wrapped_legend(layers), "symbolType": "stroke"},
                },
                "strokeDash": {
                    "field": "sensitive", "type": "nominal", "title": None, "legend": None,
                    "scale": {"domain": ["yes", "sometimes", "no"], "range": [[1, 0], [6, 2], [2, 3]]},
                },
                "opacity": faded_unless_shown(0.95, "layer"),
                "tooltip": tooltip(layer="layer", sensitive="sensitive", x="kept, %", y="accuracy, %"),
            },
        }  # fmt: skip
        caption = (
            f"Accuracy with one layer cut and all others whole, mean over {len(alike)} splits; layers from yellow "
            "(first) to blue (last). Solid: the splitter takes the layer for sensitive; dashed: in some splits; "
            "dotted: in none."
        )
        entries = [LegendEntry(name, colour, dash=[1, 0]) for name, colour in zip(layers, colours, strict=True)]
        title, legend = f"{method} · {section.title}: sensitivity", Legend("layer", entries)
        yield Chart(f"sensitivity-{number}-{index}", title, caption, spec, 260, legend)


def _sensitivity_points(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for at, layer in enumerate(rows[0].sensitivity):
        records = [row.sensitivity[at] for row in rows]
        n_sensitive = sum(record.sensitive for record in records)
        sensitive = "no" if not n_sensitive else "yes" if n_sensitive == len(records) else "sometimes"
        for share in layer.kept_shares:
            values = [
                value
                for record in records
                for known, value in zip(record.kept_shares, record.select_accuracy, strict=True)
                if known == share
            ]
            yield {
                "layer": layer.layer,
                "x": round(100 * share, 1),
                "y": round(100 * fmean(values), 2),
                "sensitive": sensitive,
            }
