"""A cell's rows as rich shows them in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.rows.row import Row, figures_by_step
from harness.suite_cell import row_title
from harness.views.cells.reuse_tables import reuse_tables
from harness.views.cells.sensitivity import sensitivity_view
from harness.views.quantities import duration_text

_TABLES = (
    "layers", "modules", "shared_kernels", "patches", "compositions", "new_tasks", "sub_tasks", "sensitivity",
    "figures", "confusions",
)  # fmt: skip
"""Columns that hold lists, shown as tables or in the report alone."""


def row_view(attempts: Iterable[Row]) -> RenderableType:
    """Return a summary of all attempts at a cell, and the last one in full."""
    rows = list(attempts)
    last = rows[-1]
    parts: list[RenderableType] = [Text(row_title(last), style="bold"), Text(last.cell_id, style="dim")]
    if len(rows) > 1:
        parts.append(Text(f"{len(rows)} attempts: {', '.join(row.state.value for row in rows)}; the last:"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    for name, value in last.model_dump(mode="json", exclude={*_TABLES, "traceback", "config"}).items():
        if value not in (None, [], ""):
            grid.add_row(name, _value_text(name, value))
    parts += [grid, *_details(last)]
    for part in parts:
        for column in part.columns if isinstance(part, Table) else ():
            column.overflow = "fold"  # cut short, two names may be one
    if last.traceback:
        parts += [Text("\ntraceback", style="bold"), Text(last.traceback)]
    return Group(*parts)


def _value_text(name: str, value: object) -> str:
    if name == "stages" and isinstance(value, list):
        return "\n".join(
            f"{stage['name']}: {duration_text(stage['seconds'])}" + (" (reused)" if stage["reused"] else "")
            for stage in value
        )
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _details(row: Row) -> list[RenderableType]:
    parts: list[RenderableType] = [Text("\nconfiguration", style="bold"), Text(row.config)]
    if row.modules:
        table = Table("class", "kernels", "FLOPs", "parameters", "precision", "recall", "F1", box=box.SIMPLE_HEAD)
        for module in row.modules:
            scores = (module.select_precision, module.select_recall, module.select_f1)
            sizes = (module.kernels, module.flops, module.parameters)
            table.add_row(module.class_name, *(f"{size:,}" for size in sizes), *(f"{score:.3f}" for score in scores))
        parts += [Text("\nmodules (scores of the composed model on select)", style="bold"), table]
    parts += reuse_tables(row)
    if row.layers:
        table = Table("layer", "kernels", "kept, mean", "union", box=box.SIMPLE_HEAD)
        for layer in row.layers:
            mean = sum(layer.kept) / max(1, len(layer.kept))
            table.add_row(layer.name, str(layer.kernels), f"{mean:.1f}", str(layer.union_kept))
        parts += [Text("layers", style="bold"), table]
    if row.figures:
        parts += [Text("\nthe splitter's own figures (accuracies on select)", style="bold"), *_figures_views(row)]
    if row.sensitivity:
        parts += [Text("sensitivity (composed accuracy, %)", style="bold"), sensitivity_view(row)]
    return parts


_MAX_STEPS = 24
"""Longer searches are shown at this many evenly spaced steps, the last one included."""


def _figures_views(row: Row) -> Iterator[RenderableType]:
    whole = [figure for figure in row.figures if figure.step is None]
    by_step = figures_by_step(row.figures)
    if by_step:
        names = list(dict.fromkeys(name for figures in by_step.values() for name in figures))
        table = Table("step", *(name.replace("_", " ") for name in names), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        stride = -(-len(by_step) // _MAX_STEPS)
        for step, figures in list(by_step.items())[::-stride][::-1]:
            table.add_row(str(step), *(f"{figures[name]:.4g}" if name in figures else "–" for name in names))
        yield table
    if whole:
        yield Text(", ".join(f"{figure.name.replace('_', ' ')} {figure.value:.6g}" for figure in whole))
