"""``splitbench compare``: two splitters head to head, or all of them over all cells."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import at_option, json_option, open_store

if TYPE_CHECKING:
    from harness.store import ResultStore


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[SPLITTER]... RESULTS...")
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
    words: tuple[str, ...],
    scenario: str | None,
    sort: str | None,
    form: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Compare splitters by the rows in RESULTS, one folder or several, on the seeds that they share.

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
    from harness.store import union
    from harness.views.leaderboards.comparison import comparison_document
    from harness.views.leaderboards.overview import overview_document
    from splitters.errors import ConfigurationError

    splitters, stores = _splitters_and_stores(words)
    for store in stores:
        store.require_rows()
    twice = [name for name in splitters if splitters.count(name) > 1]
    if twice:
        raise ConfigurationError(f"compare: {twice[0]!r} is named twice; a splitter is compared with another one.")
    if len(splitters) == 1:
        raise ConfigurationError(
            f"compare: {splitters[0]!r} alone has nothing to be compared with; name another splitter before RESULTS, "
            "or none to compare all."
        )
    budget = None if at is None else Budget.parse(at)
    latest = union([store.read(columns=columns_for(budget)) for store in stores]).latest()
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


def _splitters_and_stores(words: tuple[str, ...]) -> tuple[list[str], list[ResultStore]]:
    """Return the names of splitters, and the results behind them: the last word, and those before it that hold rows."""
    *others, last = words
    stores = list(takewhile(lambda store: store.storage.has_folder("rows"), map(open_store, reversed(others))))
    names = others[: len(others) - len(stores)]
    return names, [*reversed(stores), open_store(last)]
