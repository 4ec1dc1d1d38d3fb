"""Confusion matrices: a base model beside its composed modules, and weak models beside patched ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.rows.row import ConfusionRecord, Row
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import Chart, Choice, Spec, dataset, tooltip
from harness.report.charts.matrices.grid import END_OF_CELL, cell_channels, named_axis
from harness.report.data import ReportData

_MAX_BESIDE = 20
"""Classes of matrices that stand side by side; larger ones stand one above the other."""

MAX_CELLS = 2000
"""Numbers that one chart draws, the largest of each matrix."""

_LINE_HEIGHT = 15
_MAX_HEIGHT = 420

_READING = (
    "Rows are the true classes, columns the predicted ones; the stronger the colour, the larger the share of the "
    "class’s images: blue where the answer is right, orange where it is wrong."
)


def composed_confusions(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield a chart per method: the base model's answers beside those of its composed modules, where they differ."""
    for index, (method, rows) in enumerate(data.detailed_by_method(section).items()):
        found = [record for row in rows for record in row.confusions if record.target_class is None]
        records = [record for record in found if record.classes == found[0].classes]
        if all(record.before == record.after for record in records):
            continue
        cells = _cells_of(records, ("base model", "composed"), MAX_CELLS // 2)
        caption = (
            f"Base model, and its modules composed, on test images; sum of {_cells(len(records))}. {_READING}"
            f"{_left_out(records[:1], MAX_CELLS // 2)}"
        )
        spec, height = _spec(records[0].classes, cells, ("base model", "composed"))
        title = f"{method} · {section.title}: confusion"
        yield Chart(f"confusion-{number}-{index}", title, caption, spec, height)


def patched_confusions(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield a chart per method and kind of weak model: its answers before and after the patch of a chosen class."""
    for index, (method, rows) in enumerate(data.detailed_by_method(section).items()):
        for kind, alike in _by_kind(rows).items():
            by_target: defaultdict[str, list[ConfusionRecord]] = defaultdict(list)
            for row in alike:
                for record in row.confusions:
                    if record.target_class is not None:
                        by_target[record.target_class].append(record)
            if by_target:
                yield _patched(f"confusion-{number}-{index}-{kind}", f"{method} · {section.title} · {kind}", by_target)


def _by_kind(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.patches:
            found[row.patches[0].weak_kind].append(row)
    return found


def _patched(name: str, title: str, by_target: dict[str, list[ConfusionRecord]]) -> Chart:
    panels = ("weak model", "patched")
    at_most = MAX_CELLS // (2 * len(by_target))
    cells: list[dict[str, Any]] = []
    for target, found in by_target.items():
        records = [record for record in found if len(record.classes) == len(found[0].classes)]
        cells += [{"target": target, **cell} for cell in _cells_of(records, panels, at_most)]
    first = next(iter(by_target.values()))
    # Tasks differ in one class where the weak model knows classes of another data set.
    classes = [
        known[0] if len(set(known)) == 1 else "target"
        for known in zip(*(records[0].classes for records in by_target.values()), strict=True)
    ]
    spec, height = _spec(classes, cells, panels, tooltip(target="target class"))
    spec["layer"][1]["transform"] = [{"filter": "datum.target == choice"}, *END_OF_CELL]
    rules = ", ".join(sorted({record.fusion or "" for records in by_target.values() for record in records}))
    caption = (
        f"A weak model before and after the patch of the chosen class, on test images; sum of {_cells(len(first))}, "
        f"with the fusion rule that is best on each one’s select images ({rules}). {_READING}"
        f"{_left_out(first[:1], at_most)}"
    )
    choice = Choice("Patched class", list(by_target))
    return Chart(name, f"{title.replace('_', ' ')}: confusion", caption, spec, height, choice=choice)


def _left_out(records: Sequence[ConfusionRecord], at_most: int) -> str:
    """Return a sentence for captions of matrices with more numbers than are drawn; empty for smaller ones."""
    is_larger = any(len(record.classes) ** 2 > at_most for record in records)
    return f" At most {at_most} numbers of each matrix are drawn, the largest." if is_larger else ""


def _cells_of(records: Sequence[ConfusionRecord], panels: tuple[str, str], at_most: int) -> list[dict[str, Any]]:
    """Return a record for each pair of class and answer that occurs, the most frequent mistakes first.

    Of each matrix, at most this many are returned: the largest.
    """
    classes = records[0].classes if records else []
    n = len(classes)
    dx, dy = _offset(n)
    cells: list[dict[str, Any]] = []
    for at, (panel, field) in enumerate(zip(panels, ("before", "after"), strict=True)):
        matrices = [getattr(record, field) for record in records]
        found: list[dict[str, Any]] = []
        for i in range(n):
            counts = [sum(matrix[i][j] for matrix in matrices) for j in range(n)]
            found += [
                {
                    "model": panel, "class": classes[i], "answer": classes[j], "images": count,
                    "share": round(100 * count / sum(counts), 1), "right": "yes" if i == j else "no",
                    "x": j + at * dx, "y": i + at * dy,
                }
                for j, count in enumerate(counts)
                if count
            ]  # fmt: skip
        cells += _largest(found, at_most)
    return sorted(cells, key=lambda cell: (cell["right"], -cell["images"]))


def _largest(cells: list[dict[str, Any]], at_most: int) -> list[dict[str, Any]]:
    """Return the cells with most images; of equally many images all or, in favour of no class, none."""
    if len(cells) <= at_most:
        return cells
    ordered = sorted(cells, key=lambda cell: -cell["images"])
    return [cell for cell in ordered if cell["images"] > ordered[at_most]["images"]] or ordered[:at_most]


def _offset(n: int) -> tuple[int, int]:
    """Return how far the second matrix stands to the right of the first one, and below it."""
    return (n + 1, 0) if n <= _MAX_BESIDE else (0, n + 5)


def _spec(
    classes: Sequence[str], cells: Sequence[dict[str, Any]], panels: tuple[str, str], details: Sequence[Spec] = ()
) -> tuple[Spec, int]:
    n = len(classes)
    dx, dy = _offset(n)
    columns = named_axis(classes, starts=(0, dx) if dx else (0,))
    lines = named_axis(classes, starts=(0, dy) if dy else (0,), downwards=True)
    grids = [{"x": at * dx, "y": at * dy, "model": panel} for at, panel in enumerate(panels)]
    ends: list[Spec] = [{"calculate": f"datum.{axis} + {n}", "as": f"{axis}2"} for axis in "xy"]
    channels = cell_channels(columns, lines)
    spec: Spec = {
        "layer": [
            {
                "data": dataset(grids),
                "transform": ends,
                "mark": {"type": "rect", "fill": "var(--grid)", "tooltip": None},
                "encoding": channels,
            },
            {
                "data": dataset(cells),
                "transform": END_OF_CELL,
                "mark": {"type": "rect"},
                "encoding": {
                    **channels,
                    "color": {
                        "field": "right", "type": "nominal", "legend": None,
                        "scale": {"domain": ["yes", "no"], "range": ["var(--series-1)", "var(--series-2)"]},
                    },
                    "opacity": {
                        "field": "share", "type": "quantitative", "legend": None,
                        "scale": {"type": "sqrt", "domain": [0, 100], "range": [0, 1]},
                    },
                    "tooltip": [
                        *details,
                        *tooltip(
                            model="model", **{"class": "class"}, answer="answer", images="images",
                            share="of the class's images, %",
                        ),
                    ],
                },
            },
            {
                "data": dataset(grids),
                "mark": {
                    "type": "text", "align": "left", "baseline": "bottom", "dy": -4, "tooltip": None,
                    "color": "var(--text)",
                },
                "encoding": {
                    "x": channels["x"], "y": channels["y"], "text": {"field": "model"},
                },
            },
        ]
    }  # fmt: skip
    n_lines = n + dy
    return spec, min(_MAX_HEIGHT * (2 if dy else 1), max(120, _LINE_HEIGHT * n_lines))


def _cells(n: int) -> str:
    return "1 cell" if n == 1 else f"{n} cells"
