"""``splitbench leaderboard``: ranks from rows."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import at_option, json_option, listed, open_store, where_option

_FORMATS = ("rich", "json", "md", "csv", "latex")


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True)
@click.option("--scenario", metavar="S", help="Show this scenario only.")
@where_option
@click.option(
    "--group-by",
    metavar="KEY,...",
    help="One table per value of these keys, e.g. dataset, model or training.epochs; averages over everything else.",
)
@click.option("--sort", metavar="MEASURE", help="Measure to rank by. [default: the scenario's own, e.g. accuracy_loss]")
@click.option("--columns", metavar="MEASURE,...", help="Measures to show, in this order; --json lists all by name.")
@click.option("--baseline", metavar="NAME", help="Show differences from this splitter, on the seeds that both have.")
@click.option("--no-reference", is_flag=True, help="Leave out published figures.")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Output format.")
@at_option
@json_option
@report_errors
def command(
    results: tuple[str, ...],
    scenario: str | None,
    where: tuple[str, ...],
    group_by: str | None,
    sort: str | None,
    columns: str | None,
    baseline: str | None,
    no_reference: bool,
    form: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Rank splitters by the rows in RESULTS, a folder or a pyarrow.fs URI, or several.

    Means over seeds with 95 % t-intervals. A rank begins where a corrected paired test separates an entry from the
    first one of the rank above.
    Splitters that lack seeds which others have are marked and ranked after the complete ones.

    --at compares at equal budgets, from the states that the splitters recorded: the loss with at most 40 % of the
    kernels, the kernels at a loss of at most 1 point, or what was reached within some seconds. Several budgets, as in
    loss=0%,1%,2%, show each splitter's front.
    """
    from harness.cli.output import show, write
    from harness.ranking.baseline import with_baseline
    from harness.ranking.budgets.budget import Budget
    from harness.ranking.leaderboard import columns_for, make_leaderboard, with_measures, without_references
    from harness.store import union
    from harness.views.leaderboards.formats import FORMATS
    from harness.views.leaderboards.terminal import leaderboard_view
    from harness.views.rows.conditions import select

    budget = None if at is None else Budget.parse(at)
    stores = [open_store(location) for location in results]
    for store in stores:
        store.require_rows()
    contents = union([store.read(columns=columns_for(budget)) for store in stores])
    rows = select(contents.latest(), where)
    groups = listed(group_by, "--group-by", "field")
    board = make_leaderboard(rows, scenario=scenario, sort=sort, group_by=groups, budget=budget)
    if columns is not None:
        board = with_measures(board, listed(columns, "--columns", "measure"))
    if baseline is not None:
        board = with_baseline(board, baseline)
    if no_reference:
        board = without_references(board)
    form = "json" if as_json else form
    if form == "rich":
        show(leaderboard_view(board, contents=contents, results=results[0] if len(results) == 1 else ""))
        return
    write(FORMATS[form](board))
    for file in contents.damaged:
        click.echo(f"damaged: {file.path} ({file.reason})", err=True)
    for path in contents.being_written:
        click.echo(f"still being written: {path}", err=True)
