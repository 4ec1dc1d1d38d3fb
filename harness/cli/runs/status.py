"""``splitbench status``: the state of runs on a results folder."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.runs.status import ResultsStatus, RunStatus

_EARLIER_RUNS = 5
_NAMED_FAILURES = 10


@click.command()
@click.argument("results", metavar="RESULTS")
@json_option
@report_errors
def command(results: str, as_json: bool) -> None:
    """Show the state of all runs on a results folder or URI, from any machine that can read it."""
    from datetime import datetime, timezone

    from harness.cli.output import show, show_json
    from harness.runs.status import results_status

    store = open_store(results)
    store.require()
    now = datetime.now(timezone.utc)
    status = results_status(store, now)
    show_json(status_object(status)) if as_json else show(_view(status, now.timestamp(), results))


def status_object(status: ResultsStatus) -> dict[str, Any]:
    """Return a status as plain values, for JSON."""
    from harness.suite_cell import row_title

    return {
        "cells": {state.value: count for state, count in status.cells.items()},
        "rows": status.n_rows,
        "newest": status.newest.isoformat() if status.newest else None,
        "failures": [
            {"cell_id": row.cell_id, "cell": row_title(row), "state": row.state.value, "reason": row.reason}
            for row in status.failures
        ],
        "runs": [
            {"state": run.state, "age": run.age, **run.record.model_dump(mode="json", exclude={"cell_ids"})}
            for run in status.runs
        ],
    }


def _view(status: ResultsStatus, now: float, results: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from harness.views.failures import failures_view
    from harness.views.quantities import duration_text
    from harness.views.running import cell_text

    counts = ", ".join(f"{count} {state.value}" for state, count in status.cells.items()) or "none yet"
    parts: list[RenderableType] = [Text(f"{sum(status.cells.values())} cells with rows: {counts}.", style="bold")]
    live = [run for run in status.runs if run.state == "running"]
    for run in [*live, *(run for run in status.runs if run not in live)][: max(len(live), _EARLIER_RUNS)]:
        parts.append(Text(run_line(run)))
        if run.state == "running":
            for cell in run.record.running.values():
                took = duration_text(max(0.0, now - cell.since.timestamp()))
                parts.append(Text(f"  {cell.title}  {cell_text(cell)}, {took}"))
    if not status.runs:
        parts.append(Text("No run has been recorded here."))
    if status.failures:
        parts += [Text(), failures_view(status.failures[:_NAMED_FAILURES], results=results)]
    if (more := len(status.failures) - _NAMED_FAILURES) > 0:
        command = f"splitbench leaderboard {shlex.quote(results)}"
        parts.append(Text(f"{more} more are not ok; this names them all: {command}"))
    return Group(*parts)


def run_line(run: RunStatus) -> str:
    """Return a run in one line."""
    from harness.views.quantities import duration_text

    record = run.record
    failed = f", {record.failed} of them not ok" if record.failed else ""
    heartbeat = "" if run.state in ("done", "interrupted") else f", last heartbeat {duration_text(run.age)} ago"
    return (
        f"{record.suite} on {record.hostname}: {run.state}; started {record.started_at:%Y-%m-%d %H:%M} UTC with "
        f"{record.to_do} of {record.cells} cells to do; {record.finished} attempts finished{failed}{heartbeat}"
    )
