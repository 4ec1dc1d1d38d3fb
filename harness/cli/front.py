"""``splitbench front``: the Pareto front of a sweep, from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.errors import told_plainly
from harness.cli.options import consent_options, json_option, open_store

if TYPE_CHECKING:
    from harness.store import ResultStore
    from harness.sweep.results import SweepResults
    from harness.sweep.reuse import Reused
    from harness.trust import Consent


@click.command()
@click.argument("results")
@click.option(
    "--study", metavar="ID", help="Of several studies there, this one. [default: the last that was asked for]"
)
@json_option
@consent_options
@told_plainly
def command(results: str, study: str | None, consent: Consent, as_json: bool) -> None:
    """Show the front of the sweep in RESULTS, a folder or a pyarrow.fs URI: also its best, volume and what matters."""
    from harness.cli.output import show, show_json
    from harness.sweep.objects import results_object
    from harness.sweep.results import read_results
    from harness.sweep.view import results_view

    store = open_store(results)
    store.require()
    found = read_results(store, study, consent=consent)
    reused = reused_of(found, store)
    if as_json:
        show_json(results_object(found, location=results, reused=reused))
    else:
        show(results_view(found, location=results, reused=reused))


def reused_of(results: SweepResults, store: ResultStore) -> list[Reused]:
    """Returns what a study did not have to do again."""
    from harness.sweep.reuse import reused_work

    ids = [row.cell_id for trial in results.book.trials for row in trial.rows.values()]
    ids += [row.cell_id for trial in results.chosen for row in results.test_rows(trial)]
    return reused_work(store.read().in_full(ids))
