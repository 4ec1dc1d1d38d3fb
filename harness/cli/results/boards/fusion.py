"""``splitbench fusion``: which fusion rule patches gain most by."""

from __future__ import annotations

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("results")
@json_option
@report_errors
def command(results: str, as_json: bool) -> None:
    """Rank the fusion rules of the patches in RESULTS by the mean gain in F1 on select images.

    The gain on test is shown beside it; it has no part in the choice.
    """
    from harness.cli.output import show, show_json
    from harness.ranking.fusion_choice import rule_gains
    from harness.ranking.leaderboard import columns_for, make_leaderboard
    from harness.views.leaderboards.fusion_choice import fusion_choice_objects, fusion_choice_view
    from splitters.errors import DataError

    store = open_store(results)
    store.require_rows()
    latest = store.read(columns=columns_for(None)).latest()
    if not latest.equal("scenario", "patching").any():
        raise DataError(f"there are no patches at {results}; suites with the scenario 'patching' make some.")
    gains = rule_gains(make_leaderboard(latest, scenario="patching"))
    if as_json:
        show_json(fusion_choice_objects(gains))
    else:
        show(fusion_choice_view(gains))
