"""What modules keep: their share of each layer, and how far they overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from benchmarks.rows.row import Row
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import Chart, Spec, dataset, tooltip
from harness.report.charts.matrices.dendrogram import Dendrogram
from harness.report.charts.matrices.grid import END_OF_CELL, cell_channels, named_axis
from harness.report.data import ReportData

_SHADES = ["#f2e8c4", "#c9c587", "#7fa886", "#3f8190", "#2a5484", "#1f2a5c"]
"""From little to much, in even steps of lightness."""

_CELL_HEIGHT = 15
_TREE_WIDTH = 0.3
"""Width of a dendrogram, as a share of its matrix's."""

_MAX_HEIGHT = 420


def retention_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield a heat map per method of what its modules keep of each layer; none where they keep everything."""
    for index, (method, rows) in enumerate(data.detailed_by_method(section).items()):
        alike = _alike(rows)
        if not alike or all(kept == layer.kernels for row in alike for layer in row.layers for kept in layer.kept):
            continue
        layers = [layer.name for layer in alike[0].layers]
        classes = [module.class_name for module in alike[0].modules]
        cells = [
            {
                "layer": layer,
                "class": name,
                "kept": round(
                    100 * fmean(row.layers[at].kept[column] for row in alike) / alike[0].layers[at].kernels, 1
                ),
                "kernels": alike[0].layers[at].kernels,
            }
            for at, layer in enumerate(layers)
            for column, name in enumerate(classes)
        ]
        spec = {
            "data": dataset(cells),
            "mark": {"type": "rect"},
            "encoding": {
                "x": _classes("class", classes),
                "y": {"field": "layer", "type": "nominal", "sort": None, "title": None},
                "color": _shades("kept", "kept, %", [0, 100]),
                "tooltip": tooltip(layer="layer", **{"class": "class"}, kept="kernels kept, %", kernels="of kernels"),
            },
        }
        height = min(_MAX_HEIGHT, max(120, _CELL_HEIGHT * len(layers)))
        caption = f"Kernels kept per layer (from the input downwards) and module, mean over {_cells(alike)}."
        yield Chart(f"retention-{number}-{index}", f"{method} · {section.title}: kernels kept", caption, spec, height)


def overlap_charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
    """Yield a matrix per method of how far its modules overlap; none where all are the same, or none is recorded."""
    for index, (method, rows) in enumerate(data.detailed_by_method(section).items()):
        alike = [row for row in _alike(rows) if row.shared_kernels]
        if not alike or len(alike[0].modules) < 2:
            continue
        names = [module.class_name for module in alike[0].modules]
        matrices = [jaccard_distances(row) for row in alike]
        mean = [[fmean(matrix[i][j] for matrix in matrices) for j in range(len(names))] for i in range(len(names))]
        if not any(map(any, mean)):
            continue
        spec = _overlap_spec(names, mean)
        caption = (
            "Jaccard distance between the kernels that two modules keep (0, as on the diagonal: the same), mean over "
            f"{_cells(alike)}; similar modules are neighbours. The dendrogram on the right joins modules at their "
            "average distance, zero at the matrix (average linkage, optimal leaf order)."
        )
        height = min(_MAX_HEIGHT, max(160, _CELL_HEIGHT * len(names)))
        yield Chart(f"overlap-{number}-{index}", f"{method} · {section.title}: overlap", caption, spec, height)


def _overlap_spec(names: Sequence[str], distances: Sequence[Sequence[float]]) -> Spec:
    tree = Dendrogram.of(distances)
    n, order = len(names), tree.leaves
    cells = [
        {"one": names[i], "other": names[j], "distance": round(distances[i][j], 3), "x": x, "y": y}
        for y, j in enumerate(order)
        for x, i in enumerate(order)
    ]
    ordered = [names[at] for at in order]
    end = n * (1 + _TREE_WIDTH)
    columns, lines = named_axis(ordered, end=end), named_axis(ordered, downwards=True)
    between = [distance for i, line in enumerate(distances) for j, distance in enumerate(line) if i != j]
    longest = max(0.1, *between)
    scale = (_TREE_WIDTH - 0.04) * n / longest
    merges = [
        {"merge": number, "at": at, "x": round(1.02 * n + scale * distance, 3), "y": leaf + 0.5}
        for number, merge in enumerate(tree.merges)
        for at, (leaf, distance) in enumerate(merge)
    ]
    return {
        "layer": [
            {
                "data": dataset(cells),
                "transform": END_OF_CELL,
                "mark": {"type": "rect"},
                "encoding": {
                    **cell_channels(columns, lines),
                    "color": _shades("distance", "Jaccard distance", [min(longest - 0.05, *between), longest]),
                    "tooltip": tooltip(one="module", other="and module", distance="Jaccard distance"),
                },
            },
            {
                "data": dataset(merges),
                "mark": {"type": "line", "color": "var(--mark)", "strokeWidth": 1.2, "tooltip": None},
                "encoding": {
                    "x": {"field": "x", **columns}, "y": {"field": "y", **lines},
                    "detail": {"field": "merge"}, "order": {"field": "at"},
                },
            },
        ]
    }  # fmt: skip


def jaccard_distances(row: Row) -> list[list[float]]:
    """Return the Jaccard distance of each two modules of a row, from their sizes and their shared kernels."""
    sizes = [module.kernels for module in row.modules]
    distances = [[0.0] * len(sizes) for _ in sizes]
    for i, shared in enumerate(row.shared_kernels):
        for j, both in enumerate(shared, start=i + 1):
            union = sizes[i] + sizes[j] - both
            distances[i][j] = distances[j][i] = 1 - both / union if union else 0.0
    return distances


def _alike(rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose layers and classes are those of the first one that has any."""
    known = [row for row in rows if row.layers and row.modules]
    return [row for row in known if _form(row) == _form(known[0])]


def _form(row: Row) -> object:
    return [(layer.name, layer.kernels) for layer in row.layers], [module.class_name for module in row.modules]


def _cells(rows: Sequence[Row]) -> str:
    return "1 cell" if len(rows) == 1 else f"{len(rows)} cells"


def _classes(field: str, names: Sequence[str]) -> dict[str, object]:
    angle = 0 if max(map(len, names)) <= 2 else -45
    axis = {"labelAngle": angle, "labelLimit": 90, "labelOverlap": True}
    return {"field": field, "type": "nominal", "sort": list(names), "title": None, "axis": axis}


def _shades(field: str, title: str, domain: Sequence[float]) -> dict[str, object]:
    legend = {"title": title, "gradientThickness": 8, "gradientLength": 140, "titleOrient": "left"}
    scale = {"domain": domain, "range": _SHADES, "clamp": True}
    return {"field": field, "type": "quantitative", "scale": scale, "legend": legend}
