"""Methods at equal budgets: their loss with equally few kernels, and what they reached within the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.ranking.budgets.recorded_states import RecordedState, anytime, front_of, loss_at
from harness.ranking.leaderboard import Section
from harness.ranking.statistics import Estimate
from harness.report.charts.chart import Chart, Legend, Spec, dataset, faded_unless_shown, quantity, tooltip
from harness.report.charts.pareto import value_axis
from harness.report.data import ReportData, spread

MAX_SPLITS = 100
"""Splits per method that are read."""

_SHARES = [step / 50 for step in range(1, 51)]
"""Shares of the kernels, as budgets."""

_N_TIMES = 60

Searches = Mapping[str, Sequence[Sequence[RecordedState]]]
"""By method, the recorded states of each of its splits."""


def budget_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield the loss at equal retention, and the hypervolume over time, of a section's splitters."""
    found = {
        name: [states for states in data.recorded_states(spread(rows, MAX_SPLITS)) if states]
        for name, rows in data.by_method(section).items()
        if data.is_first_of_split[rows].any()
    }
    searches = {name: splits for name, splits in found.items() if splits}
    losses = list(_losses(searches))
    if losses:
        axis = value_axis([end for point in losses for end in (point["low"], point["high"])])
        caption = (
            "The lowest loss on select images with at most this share of the kernels, read off each split’s recorded "
            "states (between two of them interpolated) and averaged; bands are 95 % t-intervals. A line begins where "
            "all of a method’s splits have got so far; nothing is extrapolated."
        )
        x = "kernels that may be kept, %"
        spec = _curves(data, losses, x, "loss on select, points", axis=axis)
        title = f"{section.title}: loss at equal retention"
        yield Chart(f"equal-{number}", title, caption, spec, 280, _legend(data, losses))
    volumes = list(_volumes(searches))
    if volumes:
        caption = (
            "Share of all pairs of kernels and loss that a split’s states dominate, from the moment that it reached "
            "them; mean over splits. Higher and earlier is better."
        )
        spec = _curves(data, volumes, "seconds since the start", "hypervolume, %", interpolate="step-after", axis={})
        title = f"{section.title}: hypervolume over time"
        yield Chart(f"anytime-{number}", title, caption, spec, 280, _legend(data, volumes))


def _losses(searches: Searches) -> Iterator[dict[str, Any]]:
    for method, splits in searches.items():
        fronts = [front_of(states) for states in splits]
        for share in _SHARES:
            readings = [loss_at(front, share) for front in fronts]
            reached = [reading for reading in readings if reading is not None]
            if len(reached) == len(fronts):
                loss = Estimate.of([100 * reading.value for reading in reached])
                width = loss.half_width or 0.0
                yield {
                    "method": method,
                    "x": round(100 * share),
                    "y": round(loss.mean, 3),
                    "low": round(loss.mean - width, 3),
                    "high": round(loss.mean + width, 3),
                    "read": f"{sum(reading.is_interpolated for reading in reached)} of {len(reached)} interpolated",
                }


def _volumes(searches: Searches) -> Iterator[dict[str, Any]]:
    curves = {
        method: [anytime(states) for states in splits if any(state.seconds is not None for state in states)]
        for method, splits in searches.items()
    }
    last = max((curve[-1][0] for found in curves.values() for curve in found if curve), default=0.0)
    for method, found in curves.items():
        for step in range(1, _N_TIMES + 1 if found and last > 0 else 0):
            seconds = last * step / _N_TIMES
            volume = fmean(max((v for at, v in curve if at <= seconds), default=0.0) for curve in found)
            yield {"method": method, "x": round(seconds, 2), "y": round(100 * volume, 3)}


def _legend(data: ReportData, points: Sequence[dict[str, Any]]) -> Legend:
    return data.methods.legend((point["method"] for point in points), of_lines=True)


def _curves(
    data: ReportData, points: Sequence[dict[str, Any]], x: str, y: str, *, interpolate: str = "linear", axis: Spec
) -> Spec:
    names = [point["method"] for point in points]
    across = quantity("x", x)
    lines = data.methods.lines(names)
    band: Spec = {
        "data": dataset(points),
        "mark": {"type": "area", "tooltip": None},
        "encoding": {
            "x": across, "y": quantity("low", y, **axis), "y2": {"field": "high"}, "color": lines["color"],
            "opacity": faded_unless_shown(0.13, faded=0),
        },
    }  # fmt: skip
    line: Spec = {
        "data": dataset(points),
        "mark": {"type": "line", "strokeWidth": 2, "interpolate": interpolate, "point": {"size": 5}},
        "encoding": {
            "x": across, "y": quantity("y", y, **axis), **lines,
            "opacity": faded_unless_shown(1),
            "tooltip": tooltip(method="method", x=x, y=y, **({"read": "values"} if "read" in points[0] else {})),
        },
    }  # fmt: skip
    return {"layer": [band, line] if "low" in points[0] else [line]}
