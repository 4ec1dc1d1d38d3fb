"""``python -m harness.speed``: measure the harness itself, and how soon splitters reach a quality."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click


@click.group()
def main() -> None:
    """Measure what the harness itself costs."""


@main.command()
@click.option("--cells", type=click.IntRange(min=10), default=10_000, show_default=True)
def driver(cells: int) -> None:
    """Planning, resuming and ranking many cells; each step must take less than 5 s on 10,000.

    Reading every row's file is shown and has no limit: it is needed where a store has no copy of its rows.
    """
    from harness.speed.driver import LIMIT_SECONDS, READ_FILES, measure

    steps = measure(cells)
    for step in steps:
        click.echo(f"{step.name:32} {step.seconds:7.2f} s, {step.cpu_seconds:6.2f} s of processor time")
    sys.exit(1 if any(step.seconds > LIMIT_SECONDS for step in steps if step.name != READ_FILES) else 0)


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
