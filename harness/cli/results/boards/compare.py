"""``splitbench compare``: two splitters head to head, or all of them over all cells."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import at_option, json_option, open_store


@click.command()
@click.argument("splitters", nargs=-1, metavar="[SPLITTER]...")
@click.argument("results")
@click.option("--scenario", metavar="S", help="Compare in this scenario only.")
@click.option("--sort", metavar="MEASURE", help="Measure to compare. [default: the scenario's own]")
@click.option(
    "--format", "form", type=click.Choice(("rich", "json", "md", "csv", "latex")), default="rich", show_default=True,
    help="Output format.",
)  # fmt: skip
@at_option
@json_option
@report_errors
def command(
    splitters: tuple[str, ...],
    results: str,
    scenario: str | None,
    sort: str | None,
    form: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Compare splitters by the rows in RESULTS, on the seeds that they share, and say which is better.

    Two splitters are compared seed by seed: differences, a paired t-test with Holm's correction, Wilcoxon's test. Three
    or more, or all if none is named, are compared over all cells (base model and data set): mean ranks with Friedman's
    test and Nemenyi's critical difference, interquartile means, and how often each is better than each.

    A splitter is named by its label on the leaderboard, or by its name. --at compares at equal budgets, as in
    'splitbench leaderboard'.
    """
    from harness.cli.output import show, show_json, write
    from harness.ranking.budgets.budget import Budget
    from harness.ranking.leaderboard import columns_for, make_leaderboard
    from harness.ranking.over_cells.overview import overviews
    from harness.ranking.paired.head_to_head import compare
    from harness.views.leaderboards.comparison import comparison_document
    from harness.views.leaderboards.overview import overview_document
    from splitters.errors import ConfigurationError

    if len(splitters) == 1:
        raise ConfigurationError(
            f"compare: {splitters[0]!r} alone has nothing to be compared with; name another splitter before RESULTS, "
            "or none to compare all."
        )
    budget = None if at is None else Budget.parse(at)
    store = open_store(results)
    store.require()
    latest = store.read(columns=columns_for(budget)).latest()
    board = make_leaderboard(latest, scenario=scenario, sort=sort, budget=budget)
    overall = overviews(board, splitters)
    if len(splitters) == 2:
        document = comparison_document(compare(board, *splitters), overall, *splitters)
    else:
        document = overview_document(overall)
    if as_json or form == "json":
        show_json(document.values)
    elif form == "rich":
        show(document.view())
    else:
        write(document.text(form))
