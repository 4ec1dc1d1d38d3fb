"""Where time and memory go: a cell's stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from benchmarks.rows.row import StageRecord
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import Chart, Spec, dataset, tooltip
from harness.report.data import ReportData
from harness.report.methods import gradient, wrapped_legend

_SHADES = ["#4f8ae0", "#8273d6", "#b065b8", "#d4627a", "#dd7f45", "#d99a26"]
"""Stages in their order; not the colours of methods."""

_BAR = 24


def cost_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield the seconds and the peak memory of each stage, by method."""
    bars: list[dict[str, Any]] = []
    order: dict[str, None] = {}
    for method, rows in data.detailed_by_method(section).items():
        stages: defaultdict[str, list[StageRecord]] = defaultdict(list)
        for row in rows:
            for stage in row.stages:
                stages[stage.name].append(stage)
        for at, (name, records) in enumerate(stages.items()):
            order.setdefault(name)
            peaks = [record.peak_memory_bytes for record in records if record.peak_memory_bytes is not None]
            bars.append(
                {
                    "method": method,
                    "stage": name,
                    "order": at,
                    "seconds": round(fmean(record.seconds for record in records), 2),
                    "memory": round(max(peaks) / 2**20) if peaks else None,
                    "reused": f"{sum(record.reused for record in records)} of {len(records)}",
                }
            )
    if not bars:
        return
    names = [name for name in data.methods.names if any(bar["method"] == name for bar in bars)]
    y = {"field": "method", "type": "nominal", "sort": names, "title": None}
    colour = {
        "field": "stage", "type": "nominal", "sort": list(order), "title": None, "legend": wrapped_legend(order),
        "scale": {"domain": list(order), "range": gradient(_SHADES, len(order))},
    }  # fmt: skip
    details = tooltip(
        method="method", stage="stage", seconds="seconds, mean", memory="peak memory, MiB", reused="reused in cells"
    )
    seconds: Spec = {
        "data": dataset(bars),
        "mark": {"type": "bar", "stroke": "var(--paper)", "strokeWidth": 1},
        "encoding": {
            "y": y, "x": {"field": "seconds", "type": "quantitative", "title": "seconds per cell", "stack": True},
            "color": colour, "order": {"field": "order"}, "tooltip": details,
        },
    }  # fmt: skip
    height = _BAR * len(names) + 10
    yield Chart(
        f"seconds-{number}",
        f"{section.title}: time",
        "Mean wall time of each stage; work that was reused from another cell counts with the time it took there.",
        seconds,
        height,
    )
    if any(bar["memory"] for bar in bars):
        memory: Spec = {
            "data": dataset([bar for bar in bars if bar["memory"]]),
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {
                "y": y, "color": colour, "tooltip": details,
                "x": {"field": "memory", "type": "quantitative", "title": "peak memory, MiB", "scale": {"zero": True}},
            },
        }  # fmt: skip
        caption = "The highest peak of each stage: of the GPU where there was one, else of the process."
        yield Chart(f"memory-{number}", f"{section.title}: memory", caption, memory, height)
