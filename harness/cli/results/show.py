"""``splitbench show``: everything about one cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import told_plainly
from harness.cli.options import json_option, open_store

if TYPE_CHECKING:
    from benchmarks.rows.row import Row
    from harness.store import StoreContents

_SHOWN_CANDIDATES = 10


@click.command()
@click.argument("cell_id")
@click.option("--results", metavar="URI", help="Folder or URI of its rows. [default: every folder in ./results]")
@json_option
@told_plainly
def command(cell_id: str, results: str | None, as_json: bool) -> None:
    """Show a cell's rows. CELL_ID is its id or an unambiguous prefix of it."""
    from harness.cli.output import show, show_json
    from harness.views.cells.row import row_view

    attempts = _find(cell_id.lower(), _stores(results))
    if as_json:
        show_json(_object(attempts))
    else:
        show(row_view(attempts))


def _stores(results: str | None) -> list[StoreContents]:
    from splitters.errors import ConfigurationError

    if results is not None:
        store = open_store(results)
        store.require()
        return [store.read()]
    folders = sorted(path.parent for path in Path("results").glob("*/rows"))
    if not folders:
        raise ConfigurationError("there are no results in ./results; pass --results URI.")
    return [open_store(str(folder)).read() for folder in folders]


def _find(prefix: str, stores: list[StoreContents]) -> list[Row]:
    """Return all attempts at the one cell whose id begins so."""
    from harness.suite_cell import row_title
    from splitters.errors import ConfigurationError

    found = sorted({cell_id for contents in stores for cell_id in contents.cell_ids() if cell_id.startswith(prefix)})
    if not found:
        raise ConfigurationError(
            f"no cell's id begins with {prefix!r}. 'splitbench plan SUITE' lists ids; --results URI names other rows."
        )
    if len(found) > 1:
        rows = [row for contents in stores for row in contents.latest() if row.cell_id in found[:_SHOWN_CANDIDATES]]
        lines = sorted({f"  {row.cell_id[: len(prefix) + 8]}  {row_title(row)}" for row in rows})
        raise ConfigurationError(
            f"{len(found)} cells' ids begin with {prefix!r}; type more of it:\n" + "\n".join(lines)
        )
    attempts = [row for contents in stores for row in contents.attempts(found[0])]
    return sorted(attempts, key=lambda row: (row.state.is_final, row.started_at))


def _object(attempts: list[Row]) -> dict[str, Any]:
    """Return the row that counts, and a line for each attempt."""
    keys = {"attempt_id", "state", "reason", "failure_kind", "started_at", "seconds"}
    return {
        **attempts[-1].model_dump(mode="json"),
        "attempts": [row.model_dump(mode="json", include=keys) for row in attempts],
    }
