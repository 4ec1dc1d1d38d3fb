"""``splitbench export-study``: a sweep as an Optuna journal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import consent_options, json_option, open_store

if TYPE_CHECKING:
    from harness.config.trust import Consent


@click.command(name="export-study")
@click.argument("results")
@click.option("--out", metavar="FILE", required=True, help="The journal to write, e.g. study.log.")
@click.option("--study", metavar="ID", help="Which study, if there are several. [default: the latest]")
@json_option
@consent_options
@report_errors
def command(results: str, out: str, study: str | None, consent: Consent, as_json: bool) -> None:
    """Write the trials of the sweep in RESULTS as an Optuna journal, which optuna-dashboard opens."""
    from pathlib import Path

    from harness.cli.output import show_json, write_line
    from harness.sweep.study.optuna_journal import export_study
    from harness.sweep.study.results import read_results

    store = open_store(results)
    store.require()
    found = read_results(store, study, consent=consent)
    names = export_study(found, Path(out))
    if as_json:
        show_json({"file": out, "studies": names, "trials": len(found.trials.finished)})
        return
    write_line(f"{out}: {len(found.trials.finished)} trials; studies: {', '.join(names)}")
    write_line(f"Look at them: pip install optuna-dashboard && optuna-dashboard {shlex.quote(out)}")
