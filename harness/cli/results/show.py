"""``splitbench show``: everything about one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option

if TYPE_CHECKING:
    from benchmarks.rows.row import Row


@click.command()
@click.argument("cell_id")
@click.option("--results", metavar="URI", help="Folder or URI of its rows. [default: every folder in ./results]")
@json_option
@report_errors
def command(cell_id: str, results: str | None, as_json: bool) -> None:
    """Show a cell's rows. CELL_ID is its id or an unambiguous prefix of it."""
    from harness.cli.output import show, show_json
    from harness.config.cache_folder import cache_folder
    from harness.store import find_cell, read_stores
    from harness.views.cells.row import row_view

    _, attempts = find_cell(cell_id, read_stores(results, cache=cache_folder()))
    if as_json:
        show_json(_object(attempts))
    else:
        show(row_view(attempts))


def _object(attempts: list[Row]) -> dict[str, Any]:
    """Return the row that counts, and a line for each attempt."""
    keys = {"attempt_id", "state", "reason", "failure_kind", "started_at", "seconds"}
    return {
        **attempts[-1].model_dump(mode="json"),
        "attempts": [row.model_dump(mode="json", include=keys) for row in attempts],
    }
