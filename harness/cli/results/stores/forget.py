"""``splitbench forget``: remove a cell's rows, so that it is computed again."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("cell_id")
@click.argument("results", required=False)
@click.option("--results", "named", metavar="URI", help="The same as the argument RESULTS.")
@json_option
@report_errors
def command(cell_id: str, results: str | None, named: str | None, as_json: bool) -> None:
    """Remove all rows of a cell from RESULTS, and its split from this machine's cache.

    CELL_ID is an id or an unambiguous prefix of one. The next run of the suite computes the cell again. Trained weights
    stay in the cache; to repeat a cell and keep its rows, use 'splitbench rerun'.
    """
    from benchmarks.pipeline.cached_splits import cached_splits
    from harness.cli.output import show_json, write_line
    from harness.config.cache_folder import cache_folder
    from harness.store import find_cell
    from harness.store.maintenance.forgetting import forget_cell
    from harness.suite_cell import ID_LENGTH, row_title
    from harness.text import counted

    if (results is None) == (named is None):
        raise click.UsageError("Name the results folder once: splitbench forget CELL_ID RESULTS.")
    results = results or named or ""
    store = open_store(results)
    store.require_rows()
    store.prepare()
    _, attempts = find_cell(cell_id, {results: store.read()})
    row = attempts[-1]
    splits = list(cached_splits(cache_folder(), row))
    n_rows = forget_cell(store, row.cell_id)
    for path in splits:
        path.unlink(missing_ok=True)
    if as_json:
        show_json({"cell_id": row.cell_id, "rows": n_rows, "splits": [str(path) for path in splits]})
        return
    removed = f"{counted(n_rows, 'row')} and {counted(len(splits), 'cached split')} removed"
    write_line(f"Forgot {row.cell_id[:ID_LENGTH]}  {row_title(row)}: {removed}.")
