"""``splitbench compare``: two splitters head to head."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("first")
@click.argument("second")
@click.argument("results")
@click.option("--scenario", metavar="S", help="Compare in this scenario only.")
@click.option("--sort", metavar="MEASURE", help="Measure to compare. [default: the scenario's own]")
@json_option
@report_errors
def command(first: str, second: str, results: str, scenario: str | None, sort: str | None, as_json: bool) -> None:
    """Compare two splitters, FIRST and SECOND, on the seeds that both have in RESULTS, and say which is better.

    A splitter is named by its label on the leaderboard, or by its name. Differences are tested by a paired t-test with
    Holm's correction.
    """
    from harness.cli.output import show, show_json
    from harness.ranking.head_to_head import compare
    from harness.ranking.leaderboard import make_leaderboard
    from harness.views.leaderboards.comparison import comparison_objects, comparison_view

    store = open_store(results)
    store.require()
    pairs = compare(make_leaderboard(store.read().latest(), scenario=scenario, sort=sort), first, second)
    if as_json:
        show_json(comparison_objects(pairs, first, second))
    else:
        show(comparison_view(pairs, first, second))
