"""``python -m harness.speed``: measure the harness itself, and how soon splitters reach a quality."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.speed.driver import Cost


@click.group()
def main() -> None:
    """Measure what the harness itself costs."""


@main.command()
@click.option("--rows", type=click.IntRange(min=1), default=100_000, show_default=True)
def driver(rows: int) -> None:
    """Rank, plan and resume a large study, beside a program that makes a model object of each row.

    With 100,000 rows, that program takes 8 GB.
    """
    from harness.speed.driver import measure

    for step in measure(rows):
        click.echo(f"{step.name}, {step.n_rows:,} rows: {_cost_text(step.ours)}")
        if step.plain is not None:
            ratio = step.plain.cpu_seconds / step.ours.cpu_seconds
            click.echo(f"  a model object per row: {_cost_text(step.plain)}; {ratio:.1f}x")


def _cost_text(cost: Cost) -> str:
    return f"{cost.seconds:.2f} s, {cost.cpu_seconds:.2f} s of processor time, {cost.peak_bytes / 1e9:.2f} GB"


@main.command(hidden=True)
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("suite", required=False)
def plain(results: Path, suite: str | None) -> None:
    """Do what ``driver`` compares with: a plan of SUITE if it is given, else a leaderboard."""
    from harness.config.expand import expand
    from harness.config.suite import load_suite
    from harness.speed.plain import plain_leaderboard, plain_plan, plain_rows

    rows = plain_rows(results)
    click.echo(len(plain_leaderboard(rows)) if suite is None else sum(plain_plan(rows, expand(load_suite(suite)))))


@main.command()
@click.option("--slots", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--nodes", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--cells", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.0), default=1.0, show_default=True, help="Sleep of each cell.")
def dispatch(slots: int, nodes: int, cells: int, seconds: float) -> None:
    """Measure how busy the dispatcher keeps a simulated cluster on this machine, beside a plain Ray loop.

    The loop starts a process per cell too, but stores no rows, enforces no deadlines and relays no progress: it shows
    what the processors allow. A third figure leaves out the start of processes: the workers are running already.
    """
    from harness.speed.dispatch import measure

    for found in measure(slots=slots, nodes=nodes, cells=cells, cell_seconds=seconds):
        click.echo(
            f"{found.name:14} {found.cells} cells of {found.cell_seconds:g} s on {found.slots} slots: "
            f"{found.seconds:.1f} s, {100 * found.share:.1f} % busy; the driver took "
            f"{1000 * found.driver_cpu_seconds / found.cells:.0f} ms of processor time per cell"
        )


@main.command("time-to-quality")
@click.argument("results")
@click.option("--loss", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Points on select.")
@click.option("--kernels", type=click.FloatRange(0, 100), default=50.0, show_default=True, help="Percent kept.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def time_to_quality(results: str, loss: float, kernels: float, as_json: bool) -> None:
    """Mask steps and seconds until a recorded state keeps so few kernels at so little loss, from a folder's rows."""
    from harness.speed.time_to_quality import HEADER, times_to_quality
    from harness.store import ResultStore

    contents = ResultStore(results).read()
    rows = [row for row in contents.in_full(row.cell_id for row in contents.latest()) if row.state.value == "ok"]
    found = times_to_quality(rows, loss=loss / 100, retention=kernels / 100)
    if as_json:
        click.echo(json.dumps([asdict(line) for line in found], indent=2))
    else:
        click.echo("\n".join([HEADER, *(line.line() for line in found)]))


if __name__ == "__main__":
    main(prog_name="python -m harness.speed")
