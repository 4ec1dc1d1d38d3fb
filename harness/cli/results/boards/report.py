"""``splitbench report``: results as a page to look at, and as figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import consent_options, json_option, open_store

if TYPE_CHECKING:
    from harness.config.trust import Consent
    from harness.store import ResultStore
    from harness.sweep.study.results import SweepResults


@click.command()
@click.argument("results")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", default=Path("report.html"),
    show_default=True, help="The page to write.",
)  # fmt: skip
@click.option(
    "--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write every chart as PDF, SVG and PNG too, as wide as a paper's column.",
)  # fmt: skip
@click.option("--latex", is_flag=True, help="With --figures: write tables.tex and figures.tex too.")
@json_option
@consent_options
@report_errors
def command(results: str, out: Path, figures: Path | None, latex: bool, consent: Consent, as_json: bool) -> None:
    """Write the rows in RESULTS, a folder or a pyarrow.fs URI, as one HTML page.

    The page needs no network and no other file. It has the verdict in words, leaderboards, charts, failures, and the
    command that runs each cell again.
    """
    from harness.cli.output import show_json, write_line
    from harness.report.data import ReportData
    from harness.report.figures import write_figures, write_latex
    from harness.report.page import make_page, topics
    from splitters.errors import ConfigurationError
    from splitters.files.atomic_write import write_atomically

    if latex and figures is None:
        raise ConfigurationError("--latex writes its files beside the figures: add --figures DIR.")
    store = open_store(results)
    store.require_rows()
    sweeps, notes = _studies(store, consent)
    data = ReportData(store, store.read())
    parts = topics(data, sweeps)
    page = make_page(data, parts, notes=notes)
    write_atomically(out, page.encode())
    charts = [chart for topic in parts for chart in topic.charts]
    written: list[Path] = []
    if figures is not None:
        written += write_figures(charts, figures)
        if latex:
            written += write_latex(data, charts, figures)
    if as_json:
        files = [str(path) for path in written]
        show_json({"file": str(out), "cells": len(data.rows), "charts": len(charts), "figures": files})
        return
    for note in notes:
        click.echo(note, err=True)
    if figures is not None:
        write_line(f"{figures}: {len(written)} files")
    write_line(f"{out}: {len(data.rows):,} cells, {len(charts)} charts, {out.stat().st_size / 1e6:.1f} MB")


def _studies(store: ResultStore, consent: Consent) -> tuple[list[SweepResults], list[str]]:
    """Return the sweeps of a store, and why some cannot be shown."""
    from harness.sweep.study.record import read_studies
    from harness.sweep.study.results import read_results
    from splitters.errors import SplitbenchError

    found: list[SweepResults] = []
    notes: list[str] = []
    studies: list[str] = []
    try:
        studies = list(dict.fromkeys(record.study for record in read_studies(store, consent=consent)))
    except SplitbenchError as error:
        notes.append(f"Sweeps are left out: {error}")
    for study in studies:
        try:
            found.append(read_results(store, study, consent=consent))
        except SplitbenchError as error:
            notes.append(f"The sweep {study} is left out: {error}")
    return found, notes
