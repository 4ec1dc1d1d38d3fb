"""``splitbench run``: run the cells of a suite that have no rows yet."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, report_errors
from harness.cli.options import (
    changed_data,
    data_options,
    default_results,
    json_option,
    listed,
    make_location,
    open_store,
    read_cells,
    report_missing_data,
    require_data,
    shard_option,
    shared_cache_of,
    shared_cache_option,
    suite_options,
)
from harness.cli.runs.displays.tracking import Tracking, tracking_options, warn_of

if TYPE_CHECKING:
    from harness.config.suite import Suite
    from harness.execution import Backend
    from harness.execution.attempt import Surroundings
    from harness.execution.run_plan import RunReport
    from harness.runs.record import RunRecord


@click.command()
@suite_options
@shard_option
@data_options
@click.option(
    "--backend",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="Ray workers, or one cell after the other in this process.",
)
@click.option("--address", metavar="ADDR", help="A Ray cluster. [default: RAY_ADDRESS, else this machine]")
@shared_cache_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of cells to run at once. [default: as many as fit]",
)
@click.option("--timeout", metavar="TIME", help="Time limit per cell, e.g. 30m.")
@tracking_options
@click.option(
    "--force",
    is_flag=True,
    help="Run even if the cluster's machines differ in versions, or a given model is hardly better than chance.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan, run nothing.")
@json_option
@report_errors
def command(
    suite: str,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    seeds: int | None,
    shard: str | None,
    retry: str | None,
    results: str | None,
    data_root: Path | None,
    download: bool,
    backend: str,
    address: str | None,
    shared_cache: str | None,
    workers: int | None,
    timeout: str | None,
    tracking: Tracking,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a suite: a name from 'splitbench ls suites', or a YAML file.

    Cells that already have a row are skipped. Ctrl-C stops running cells cleanly, a second Ctrl-C at once; the next run
    continues where this one stopped.
    """  # fmt: skip
    from harness.cli.output import progress_console, show, show_json
    from harness.cli.runs.displays.cell_display import make_display
    from harness.cli.runs.left_cells import left_text
    from harness.config.expand import forced, plugins_of
    from harness.config.trust import trust_named
    from harness.execution.attempt import Surroundings
    from harness.execution.observers import Listeners
    from harness.execution.run_plan import run_plan
    from harness.planning.memory_needs import MEMORY_COLUMNS, memory_needs
    from harness.planning.missing_data import datasets_of
    from harness.planning.plan import PLAN_COLUMNS, make_plan
    from harness.views.plan import plan_object, plan_view

    loaded, cells = read_cells(suite, changes, only, seeds, timeout, shard)
    cells = forced(cells) if force else cells
    location = results or default_results(loaded)
    store = open_store(location)
    columns = PLAN_COLUMNS | MEMORY_COLUMNS
    contents = store.read(columns=columns, quarantine=not dry_run)
    latest = contents.latest()
    location_of_data = make_location(data_root, download, plugins_of(loaded))
    changed = changed_data(cells, latest, location_of_data)
    plan = make_plan(cells, latest, retry=listed(retry, "--retry", "kind of failure"), outdated=changed.attempts)
    needed = datasets_of(item.cell for item in plan.queue())
    if dry_run:
        report_missing_data(needed, location_of_data)
        show_json(plan_object(plan, loaded.name)) if as_json else show(plan_view(plan))
        return
    trust_named(plugins_of(loaded), loaded.model_dump(mode="json"))
    require_data(needed, location_of_data)
    surroundings = Surroundings(
        suite=loaded.name,
        cache=location_of_data.cache,
        data_root=location_of_data.data_root,
        download=download,
        plugins=plugins_of(loaded),
        shared_cache=shared_cache_of(shared_cache, results=location, address=address),
    )
    memory = memory_needs(plan, contents.table)
    chosen = _backend(backend, surroundings, loaded, address, workers, mixed=force, memory=memory)
    console = progress_console()
    with ExitStack() as stack:
        trackers = tracking.enter(stack, loaded.name)
        display = stack.enter_context(make_display(console, len(plan.queue()), plan.time_left()))

        def on_left(left: Mapping[str, RunRecord]) -> None:
            display.leave(left.keys())
            console.print(left_text(left), markup=False, highlight=False, soft_wrap=True)

        report = run_plan(
            plan,
            store,
            chosen,
            listener=Listeners(display, *trackers),
            on_left=on_left,
        )
    warn_of(report.listener_error)
    if as_json:
        show_json(_report_object(report, loaded.name, location))
    else:
        _show_report(report, location)
    sys.exit(_exit_code(report))


def _backend(
    name: str,
    surroundings: Surroundings,
    suite: Suite,
    address: str | None,
    workers: int | None,
    *,
    mixed: bool,
    memory: dict[str, int],
) -> Backend:
    from harness.execution import Limits
    from splitters.errors import ConfigurationError

    limits = Limits(timeout=suite.timeout)
    if name == "inline":
        if address or workers:
            raise ConfigurationError("--address and --workers belong to --backend ray; leave them out.")
        from harness.execution.inline import InlineBackend

        return InlineBackend(surroundings, limits)
    from harness.execution.ray.backend import RayBackend

    return RayBackend(
        surroundings,
        limits,
        address=address,
        gpu_share=suite.gpu_share,
        workers=workers,
        mixed=mixed,
        memory=memory,
    )


def _show_report(report: RunReport, location: str) -> None:
    from harness.cli.output import show
    from harness.ranking.leaderboard import make_leaderboard
    from harness.views.leaderboards.terminal import leaderboard_view

    board = make_leaderboard(report.latest())
    empty = "No rows yet from the other run." if report.left_to_others else "No rows yet."
    show(leaderboard_view(board, contents=report.contents, results=location, empty=empty))
    show(_closing(report, location))


def _closing(report: RunReport, location: str) -> str:
    from harness.cli.runs.left_cells import left_text
    from harness.planning.plan import Status
    from harness.store import beneath
    from harness.text import counted

    n_left = len(report.plan.with_status(Status.FAILED))
    if report.interrupted:
        head = f"Interrupted after {counted(len(report.rows), 'cell')}; the same command continues from here."
    elif report.rows or report.left_to_others:
        before = len(report.plan.with_status(Status.DONE))
        head = f"{counted(len(report.rows), 'cell')} run, {before} {'was' if before == 1 else 'were'} done before."
    else:
        n_cells = len(report.plan.cells)
        head = f"Nothing to do: {'the only cell has a row' if n_cells == 1 else f'all {n_cells:,} cells have rows'}."
    unsent = report.contents.unsent
    waiting = (
        f"\n{counted(unsent.n_rows, 'row')} kept in {unsent.folder} because {location} could not be written"
        f"{f' ({unsent.reason})' if unsent.reason else ''}; the next command that reads {location} delivers them."
        if unsent
        else ""
    )
    again = f" {n_left} failed before and were not retried (--retry failed)." if n_left else ""
    left = f"\n{left_text(report.left_to_others)}" if report.left_to_others else ""
    return f"{head}{again}{left}\nRows: {beneath(location, 'rows')}{waiting}"


def _report_object(report: RunReport, suite: str, location: str) -> dict[str, Any]:
    from harness.cli.runs.left_cells import left_objects
    from harness.ranking.leaderboard import make_leaderboard
    from harness.views.leaderboards.formats import leaderboard_objects

    board = make_leaderboard(report.latest())
    return {
        "suite": suite,
        "results": location,
        "interrupted": report.interrupted,
        "left_to_others": left_objects(report.left_to_others),
        "run": [{"cell_id": row.cell_id, "state": row.state.value, "seconds": row.seconds} for row in report.rows],
        "leaderboard": leaderboard_objects(board),
        "failures": [
            {"cell_id": row.cell_id, "state": row.state.value, "kind": row.failure_kind, "reason": row.reason}
            for row in board.failures
        ],
        "damaged": [vars(file) for file in report.contents.damaged],
        "unsent": vars(report.contents.unsent) if report.contents.unsent else None,
    }


def _exit_code(report: RunReport) -> int:
    if report.interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.all_well and report.contents.unsent is None else EXIT_FAILED
