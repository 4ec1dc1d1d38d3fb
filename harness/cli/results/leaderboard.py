"""``splitbench leaderboard``: ranks from rows."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import at_option, json_option, open_store

_FORMATS = ("rich", "json", "md", "csv", "latex")


@click.command()
@click.argument("results")
@click.option("--scenario", metavar="S", help="Show this scenario only.")
@click.option("--sort", metavar="MEASURE", help="Measure to rank by. [default: the scenario's own, e.g. accuracy_loss]")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Output format.")
@at_option
@json_option
@report_errors
def command(results: str, scenario: str | None, sort: str | None, form: str, at: str | None, as_json: bool) -> None:
    """Rank splitters by the rows in RESULTS, a folder or a pyarrow.fs URI.

    Means over seeds with 95 % t-intervals; a rank is shared unless a corrected paired test separates it from its best.
    Splitters that lack seeds which others have are marked and ranked after the complete ones.

    --at compares at equal budgets, from the states that the splitters recorded: the loss with at most 40 % of the
    kernels, the kernels at a loss of at most 1 point, or what was reached within some seconds. Several budgets, as in
    loss=0%,1%,2%, show each splitter's front.
    """
    from harness.cli.output import show, write
    from harness.ranking.budgets.budget import Budget
    from harness.ranking.leaderboard import make_leaderboard
    from harness.views.leaderboards.formats import FORMATS
    from harness.views.leaderboards.terminal import leaderboard_view

    budget = None if at is None else Budget.parse(at)
    store = open_store(results)
    store.require()
    contents = store.read()
    board = make_leaderboard(contents.latest(), scenario=scenario, sort=sort, budget=budget)
    form = "json" if as_json else form
    if form == "rich":
        show(leaderboard_view(board, contents=contents, results=results))
        return
    write(FORMATS[form](board))
    for file in contents.damaged:
        click.echo(f"damaged: {file.path} ({file.reason})", err=True)
    for path in contents.being_written:
        click.echo(f"still being written: {path}", err=True)
