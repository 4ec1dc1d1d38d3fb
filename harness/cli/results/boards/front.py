"""``splitbench front``: the Pareto front of a sweep, from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import consent_options, json_option, open_store

if TYPE_CHECKING:
    from harness.config.trust import Consent


@click.command()
@click.argument("results")
@click.option("--study", metavar="ID", help="Which study, if there are several. [default: the latest]")
@json_option
@consent_options
@report_errors
def command(results: str, study: str | None, consent: Consent, as_json: bool) -> None:
    """Show the Pareto front of the sweep in RESULTS, the best per splitter, hypervolume and importances."""
    from harness.cli.output import show, show_json
    from harness.sweep.study.results import read_results
    from harness.sweep.view import results_object, results_view

    store = open_store(results)
    store.require()
    found = read_results(store, study, consent=consent)
    if as_json:
        show_json(results_object(found, location=results))
    else:
        show(results_view(found, location=results))
