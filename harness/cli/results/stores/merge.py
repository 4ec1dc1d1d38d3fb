"""``splitbench merge``: several results folders as one."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("sources", metavar="RESULTS...", nargs=-1, required=True)
@click.option("--into", metavar="URI", required=True, help="Folder or URI to copy to; may have rows already.")
@json_option
@report_errors
def command(sources: tuple[str, ...], into: str, as_json: bool) -> None:
    """Copy the rows of several results folders into one. The folders themselves are not changed.

    Every attempt is kept once. Of several attempts at a cell, one counts, as in any folder: one that ended 'ok' or
    'skipped' before any other, then the newest.
    """
    from harness.cli.output import show, show_json
    from harness.store import beneath
    from harness.store.maintenance.fetch import fetch_rows
    from harness.text import counted

    stores = [open_store(source) for source in sources]
    for store in stores:
        store.require_rows()
    target = open_store(into)
    before = target.read().table.num_rows
    for store in stores:
        fetch_rows(store, target)
    contents = target.read(share=True)
    n_rows, n_cells = contents.table.num_rows, len(contents.cell_ids())
    if as_json:
        show_json({"results": into, "new": n_rows - before, "rows": n_rows, "cells": n_cells})
    else:
        show(f"{counted(n_rows - before, 'new row')}, {n_rows:,} in all, of {counted(n_cells, 'cell')}.")
        show(f"Rows: {beneath(into, 'rows')}")
    for file in contents.damaged:
        click.echo(f"damaged: {file.path} ({file.reason})", err=True)
