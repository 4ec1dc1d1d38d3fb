"""``splitbench leaderboard``: ranks from rows."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store

_FORMATS = ("rich", "json", "md", "csv", "latex")


@click.command()
@click.argument("results")
@click.option("--scenario", metavar="S", help="Show this scenario only.")
@click.option("--sort", metavar="MEASURE", help="Measure to rank by. [default: the scenario's own, e.g. accuracy_loss]")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Output format.")
@json_option
@report_errors
def command(results: str, scenario: str | None, sort: str | None, form: str, as_json: bool) -> None:
    """Rank splitters by the rows in RESULTS, a folder or a pyarrow.fs URI.

    Means over seeds with 95 % t-intervals; a rank is shared unless a corrected paired test separates it from its best.
    Splitters that lack seeds which others have are marked and ranked after the complete ones.
    """
    from harness.cli.output import show, write
    from harness.ranking.leaderboard import make_leaderboard
    from harness.views.leaderboards.formats import FORMATS
    from harness.views.leaderboards.terminal import leaderboard_view

    store = open_store(results)
    store.require()
    contents = store.read()
    board = make_leaderboard(contents.latest(), scenario=scenario, sort=sort)
    form = "json" if as_json else form
    if form == "rich":
        show(leaderboard_view(board, contents=contents, results=results))
        return
    write(FORMATS[form](board))
    for file in contents.damaged:
        click.echo(f"damaged: {file.path} ({file.reason})", err=True)
    for path in contents.being_written:
        click.echo(f"still being written: {path}", err=True)
