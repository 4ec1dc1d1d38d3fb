"""``splitbench compact``: fewer, larger row files."""

from __future__ import annotations

import dataclasses

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("results")
@json_option
@report_errors
def command(results: str, as_json: bool) -> None:
    """Merge the small row files in RESULTS into a few larger ones, without changing a value.

    Runs may write and others may read meanwhile, and it may be killed at any time. Versions of Splitbench before this
    command refuse to read merged files.
    """
    from harness.cli.output import show, show_json
    from harness.store.maintenance.compaction import compact
    from harness.text import counted

    store = open_store(results)
    store.require_rows()
    store.prepare()
    done = compact(store)
    store.read(share=True)
    if as_json:
        show_json(dataclasses.asdict(done))
    elif done.n_rows:
        before = counted(done.n_files_before, "row file")
        show(f"{before} before, {done.n_files_after} now; {done.n_rows} rows were merged.")
    else:
        show(f"{counted(done.n_files_before, 'row file')}, none to merge.")
