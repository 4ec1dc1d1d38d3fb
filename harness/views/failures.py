"""Cells that failed and damaged files, as rich shows them in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.rows.row import Row, State
from harness.store import StoreContents
from harness.suite_cell import ID_LENGTH, row_title
from harness.text import printable

_STATE_STYLES = {State.OK: "green", State.SKIPPED: "dim", State.INTERRUPTED: "yellow", State.TIMEOUT: "yellow"}


def failures_view(failures: Sequence[Row], *, results: str = "") -> RenderableType:
    """Return the cells that are not ``ok``, each with its reason."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("state", no_wrap=True)
    table.add_column("cell", overflow="fold")
    table.add_column("id", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for row in failures:
        state = Text(row.state.value, style=_STATE_STYLES.get(row.state, "red"))
        table.add_row(state, row_title(row), row.cell_id[:ID_LENGTH], _reason(row))
    at = f" --results {shlex.quote(results)}" if results else ""
    hint = Text(f"splitbench show {failures[0].cell_id[:ID_LENGTH]}{at}", style="cyan")
    return Group(Text("Not ok", style="bold"), table, Text("Details: ").append_text(hint))


def _reason(row: Row) -> str:
    parts = [row.failure_kind, row.reason] if row.failure_kind != row.reason else [row.reason]
    return printable(": ".join(part for part in parts if part))


def unreadable_view(contents: StoreContents) -> RenderableType:
    """Return the files of a store that are no rows, or none yet, and where they are."""
    lines = []
    if contents.damaged:
        lines.append(Text(f"{len(contents.damaged)} damaged file(s), not counted above", style="bold red"))
    for file in contents.damaged:
        place = "moved to" if file.quarantined else "left at"
        lines.append(Text(f"  {place} {file.path}" + (f" ({file.reason})" if file.reason else "")))
    if contents.being_written:
        lines.append(Text(f"{len(contents.being_written)} file(s) still being written, not counted yet"))
    lines += [Text(f"  {path}") for path in contents.being_written]
    return Group(*lines)
