"""Methods over all cells of a scenario: mean ranks with their critical difference, and interquartile means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.ranking.over_cells.overview import Overview, overviews
from harness.report.charts.chart import Chart, Spec, dataset, quantity, tooltip
from harness.report.charts.pareto import measure_scale, measure_title, value_axis
from harness.report.data import ReportData
from harness.views.leaderboards.overview import overview_title

_LINE_HEIGHT = 26
_MAX_METHODS = 40


def overall_charts(data: ReportData) -> Iterator[Chart]:
    """Yield the charts of each scenario and variant that has several base models or data sets."""
    for number, overview in enumerate(overviews(data.board)):
        if len(overview.cells) > 1 and 1 < len(overview.methods) <= _MAX_METHODS:
            yield _ranks(data, number, overview)
            if any(overview.iqm(method) for method in range(len(overview.methods))):
                yield _means(data, number, overview)


def _ranks(data: ReportData, number: int, overview: Overview) -> Chart:
    order = overview.order
    points: list[dict[str, Any]] = [
        {
            "line": overview.methods[method],
            "method": data.method_named(overview.methods[method]),
            "rank": round(float(overview.mean_ranks[method]), 2),
            "ranks": ", ".join(f"{rank:g}" for rank in overview.ranks[:, method]),
        }
        for method in order
    ]
    places = {method: place for place, method in enumerate(order)}
    bars: list[dict[str, Any]] = [
        {"line": overview.methods[method], "low": float(min(ranks)), "high": float(max(ranks))}
        for group in overview.cliques
        if len(group) > 1
        for ranks in [[round(float(overview.mean_ranks[method]), 2) for method in group]]
        for method in group
        if places[method] >= min(places[other] for other in group)
    ]
    names = [str(point["method"]) for point in points]
    y = {"field": "line", "type": "nominal", "sort": [point["line"] for point in points], "title": None}
    title = "mean rank over cells"
    spec: Spec = {
        "layer": [
            {
                "data": dataset(bars),
                "mark": {"type": "rule", "strokeWidth": 7, "opacity": 0.16, "tooltip": None},
                "encoding": {
                    "y": y, "x": quantity("low", title), "x2": {"field": "high"}, "color": {"value": "var(--mark)"},
                },
            },
            {
                "data": dataset(points),
                "mark": {"type": "point", "filled": True, "size": 100, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": quantity("rank", title, scale={"domain": [1, max(2, len(order))]}),
                    "color": {**data.methods.colours(names), "legend": None},
                    "shape": {**data.methods.shapes(names), "legend": None},
                    "tooltip": tooltip(line="method", rank=title, ranks="rank in each cell"),
                },
            },
        ]
    }  # fmt: skip
    test = overview.friedman
    caption = f"Rank of each method’s mean, averaged over {len(overview.cells)} base models and data sets; 1 is best. "
    if test is None:
        caption += "There are too few of them, or too few methods or seeds, for a test."
    else:
        caption += (
            f"Grey bars join methods that do not differ significantly: Friedman p = {test.p_value:.2g}, Nemenyi’s "
            f"critical difference {test.critical_difference:.2f}."
        )
    return Chart(f"ranks-{number}", f"{overview_title(overview)}: ranks", caption, spec, _LINE_HEIGHT * len(order) + 10)


def _means(data: ReportData, number: int, overview: Overview) -> Chart:
    board, measure = overview.section.board, overview.section.sort
    scale = measure_scale(board, measure)
    points: list[dict[str, Any]] = []
    for method in overview.order:
        found = overview.iqm(method)
        if found is not None:
            name = overview.methods[method]
            low, high = (found.value if end is None else end for end in (found.low, found.high))
            ends = {"low": round(scale * low, 3), "high": round(scale * high, 3)}
            points.append(
                {"line": name, "method": data.method_named(name), "mean": round(scale * found.value, 3), **ends}
            )
    names = [str(point["method"]) for point in points]
    title = measure_title(board, measure)
    axis = value_axis([end for point in points for end in (point["low"], point["high"])])
    y = {"field": "line", "type": "nominal", "sort": [point["line"] for point in points], "title": None}
    colour = {**data.methods.colours(names), "legend": None}
    spec: Spec = {
        "data": dataset(points),
        "encoding": {"y": y, "color": colour},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "tooltip": None},
                "encoding": {"x": quantity("low", title, **axis), "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": quantity("mean", title, **axis),
                    "shape": {**data.methods.shapes(names), "legend": None},
                    "tooltip": tooltip(line="method", mean=title, low="from", high="to"),
                },
            },
        ],
    }
    caption = (
        "Interquartile mean over all seeds and cells with its stratified bootstrap interval of 95 %; a method that "
        "failed somewhere has none, and few seeds give no interval."
    )
    return Chart(f"iqm-{number}", f"{overview_title(overview)}: means", caption, spec, _LINE_HEIGHT * len(points) + 10)
