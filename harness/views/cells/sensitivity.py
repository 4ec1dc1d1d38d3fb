"""Sensitivity curves as a terminal draws them."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table

from benchmarks.rows.row import Row, SensitivityRecord

_BARS = "▁▂▃▄▅▆▇█"


def sensitivity_view(row: Row) -> RenderableType:
    """Return a table of each layer's curve over the share of kept kernels, as bars and as numbers."""
    shares = sorted({share for layer in row.sensitivity for share in layer.kept_shares})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("sensitive")
    table.add_column("starts with")
    table.add_column("curve", no_wrap=True)
    for share in shares:
        table.add_column(f"{share:g}", justify="right", no_wrap=True)
    for layer in row.sensitivity:
        known = dict(zip(layer.kept_shares, layer.select_accuracy, strict=True))
        table.add_row(
            layer.layer,
            "yes" if layer.sensitive else "no",
            " ".join(f"{share:g}" for share in layer.start_shares),
            curve_bars(layer),
            *(f"{100 * known[share]:.1f}" if share in known else "–" for share in shares),
            style="yellow" if layer.sensitive else None,
        )
    return table


def curve_bars(layer: SensitivityRecord) -> str:
    """Return a curve as one bar per share; a full bar is an accuracy of 1, an empty one an accuracy of 0."""
    return "".join(_BARS[min(len(_BARS) - 1, int(value * len(_BARS)))] for value in layer.select_accuracy)
