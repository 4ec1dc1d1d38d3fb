"""Modules in use: weak models before and after their patches, and composed models beside their baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import Chart, Spec, dataset, faded_unless_shown, quantity, tooltip
from harness.report.data import ReportData
from harness.report.methods import wrapped_legend
from harness.views.leaderboards.entry_text import described_variant

_COMPOSED = "composed_accuracy"
_BASELINE_SHAPES = ("square", "triangle-up", "diamond", "cross", "triangle-down")

_LINE_HEIGHT = 30


def patch_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield the F1 of each target class before and after its patch, one chart per kind of weak model."""
    by_kind: defaultdict[str, dict[str, pa.Table]] = defaultdict(dict)
    for method, rows in data.by_method(section).items():
        for kind, patches in _parts(data.patches(rows), "weak_kind"):
            by_kind[kind][method] = patches
    for index, (kind, patches_of) in enumerate(by_kind.items()):
        fusions = {method: best_fusion(patches) for method, patches in patches_of.items()}
        points: list[dict[str, Any]] = [
            point
            for method, patches in patches_of.items()
            for point in _patch_points(method, dict(_parts(patches, "fusion"))[fusions[method]])
        ]
        rules = "; ".join(f"{method}: {fusion}" for method, fusion in fusions.items())
        caption = (
            "From the bar (the weak model) to the point (patched), means over seeds, with the fusion rule that is best "
            f"on select images ({rules}). The leaderboard has all rules."
        )
        n_lines = len({point["class"] for point in points}) * len(patches_of)
        title = f"{section.title} · {kind.replace('_', ' ')}"
        spec, legend = _patch_spec(data, points), data.methods.legend(patches_of)
        yield Chart(f"patches-{number}-{index}", title, caption, spec, 14 * n_lines + 20, legend)


def _patch_spec(data: ReportData, points: Sequence[dict[str, Any]]) -> Spec:
    names = [str(point["method"]) for point in points]
    before, after = (quantity(field, "F1 of the target class, %") for field in ("before", "after"))
    return {
        "data": dataset(points),
        "encoding": {
            "y": {"field": "class", "type": "nominal", "sort": None, "title": None},
            "yOffset": {"field": "method", "sort": data.methods.names},
            "color": data.methods.colours(names),
            "opacity": faded_unless_shown(1),
        },
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": before, "x2": {"field": "after"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": {
                    "x": after, "shape": data.methods.shapes(names),
                    "tooltip": tooltip(
                        method="method", fusion="rule", before="F1 before, %", after="F1 after, %",
                        others="other classes' accuracy, points", right="answers corrected", wrong="answers spoilt",
                        **{"class": "target class"},
                    ),
                },
            },
            {"mark": {"type": "tick", "thickness": 2, "size": 9, "tooltip": None}, "encoding": {"x": before}},
        ],
    }  # fmt: skip


def best_fusion(patches: pa.Table) -> str:
    """Return the fusion rule with the best mean F1 of the target class on select, held out from the rule if known.

    Args:
        patches: The columns of ``PatchRecord``.
    """
    f1 = pc.coalesce(patches.column("select_tc_f1_held_out"), patches.column("select_tc_f1_after"))
    rules = patches.column("fusion")
    scores: dict[str, float] = {
        rule: pc.mean(f1.filter(pc.equal(rules, rule))).as_py() for rule in rules.unique().to_pylist()
    }
    return max(scores, key=lambda rule: scores[rule])


def _patch_points(method: str, patches: pa.Table) -> Iterator[dict[str, Any]]:
    for name, alike in sorted(_parts(patches, "target_class"), key=lambda part: part[0]):
        yield {
            "method": method,
            "class": name,
            "fusion": alike.column("fusion")[0].as_py(),
            "before": round(100 * _mean(alike, "tc_f1_before"), 2),
            "after": round(100 * _mean(alike, "tc_f1_after"), 2),
            "others": round(100 * _mean(alike, "non_tc_accuracy_after", minus="non_tc_accuracy_before"), 2),
            "right": round(_mean(alike, "turned_right"), 1),
            "wrong": round(_mean(alike, "turned_wrong"), 1),
        }


def _parts(patches: pa.Table, name: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield the parts of a table that have the same text in a column, after the text."""
    for text in patches.column(name).unique().to_pylist():
        yield text, patches.filter(pc.equal(patches.column(name), text))


def _mean(patches: pa.Table, name: str, *, minus: str = "") -> float:
    values = patches.column(name)
    return fmean((pc.subtract(values, patches.column(minus)) if minus else values).to_pylist())


def composition_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield composed accuracy beside that of the scenario's baselines, per method and variant."""
    baselines = [name for name in section.board.measures if name.endswith("_accuracy") and name != _COMPOSED]
    entries = [entry for entry in section.entries if _COMPOSED in entry.estimates]
    if not entries or baselines in ([], ["base_accuracy"]):
        return
    bars = [_composed(data, section, entry) for entry in entries]
    points: list[dict[str, Any]] = [
        {"line": _line(section, entry), "baseline": _words(name), "value": round(100 * entry.estimates[name].mean, 2)}
        for entry in entries
        for name in baselines
        if name in entry.estimates
    ]
    title = "accuracy on test, %"
    lines = [bar["line"] for bar in bars]
    axis = {"labelLimit": 220, "labelExpr": "split(datum.label, ' · ')"}  # the variant in a second line
    y = {"field": "line", "type": "nominal", "sort": lines, "title": None, "axis": axis}
    colour = {**data.methods.colours(bar["method"] for bar in bars), "legend": None}
    kinds = list(dict.fromkeys(point["baseline"] for point in points))
    shape = {"field": "baseline", "type": "nominal", "sort": None, "title": None, "legend": wrapped_legend(kinds)}
    spec: Spec = {
        "layer": [
            {
                "data": dataset(points),
                "mark": {"type": "point", "filled": False, "size": 70, "strokeWidth": 1.6},
                "encoding": {
                    "y": y, "x": quantity("value", title), "color": {"value": "var(--mark)"},
                    "shape": {**shape, "scale": {"range": list(_BASELINE_SHAPES)}},
                    "tooltip": tooltip(baseline="baseline", line="beside", value="accuracy, %"),
                },
            },
            {
                "data": dataset(bars),
                "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.5},
                "encoding": {"y": y, "x": quantity("low", title), "x2": {"field": "high"}, "color": colour},
            },
            {
                "data": dataset(bars),
                "mark": {"type": "circle", "size": 90, "opacity": 1},
                "encoding": {
                    "y": y, "x": quantity("value", title), "color": colour,
                    "tooltip": tooltip(line="composed", value="accuracy, %", interval="95 % interval", n="seeds"),
                },
            },
        ],
        "resolve": {"scale": {"shape": "independent", "color": "independent"}},
    }  # fmt: skip
    caption = (
        f"Filled: composed models, with 95 % intervals over {section.board.subjects}; outlined: the models that one "
        "would use instead."
    )
    yield Chart(f"composed-{number}", section.title, caption, spec, _LINE_HEIGHT * len(entries) + 20)


def _composed(data: ReportData, section: Section, entry: Entry) -> dict[str, Any]:
    composed = entry.estimates[_COMPOSED]
    width = composed.half_width or 0.0
    return {
        "line": _line(section, entry),
        "method": data.method_named(entry.label),
        "value": round(100 * composed.mean, 2),
        "low": round(100 * (composed.mean - width), 2),
        "high": round(100 * (composed.mean + width), 2),
        "interval": "–" if composed.half_width is None else f"±{100 * width:.2f}",
        "n": len(entry.seeds_with(_COMPOSED)),
    }


def _line(section: Section, entry: Entry) -> str:
    variant = described_variant(section, entry)
    return f"{entry.label} · {variant}" if variant else entry.label


def _words(measure: str) -> str:
    return measure.removesuffix("_accuracy").replace("_", " ")
