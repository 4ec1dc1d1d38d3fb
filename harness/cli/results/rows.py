"""``splitbench rows``: rows for other programs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.errors import report_errors

_FORMATS = ("csv", "json", "parquet")


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True)
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="Output format; by default what --out ends in, or csv."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to a file.")
@click.option("--settings", is_flag=True, help="Add a column per setting, e.g. splitter.alpha or training.epochs.")
@click.option("--all-attempts", is_flag=True, help="Write every attempt at a cell, not only the one that counts.")
@report_errors
def command(results: tuple[str, ...], form: str | None, out: Path | None, settings: bool, all_attempts: bool) -> None:
    """Write the rows in RESULTS, one folder or URI or several, one per cell: the attempt that counts.

    In Python: harness.read_rows(RESULTS, as_="pandas").
    """
    from harness.cli.output import write_bytes
    from harness.views.rows.formats import FORMATS
    from harness.views.rows.read import read_rows
    from splitters.errors import ConfigurationError
    from splitters.files.atomic_write import write_atomically

    if form is None:
        suffix = out.suffix[1:].lower() if out else ""
        form = suffix if suffix in _FORMATS else "csv"
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise ConfigurationError("--format parquet: a terminal cannot show it; name a file with --out FILE.")
    table = read_rows(results, all_attempts=all_attempts, settings=settings)
    data = FORMATS[form](table)
    if out is None:
        write_bytes(data)
        return
    write_atomically(out, data)
    click.echo(f"{out}: {table.num_rows} rows, {table.num_columns} columns", err=True)
