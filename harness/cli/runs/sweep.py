"""``splitbench sweep``: search the settings of splitters."""

from __future__ import annotations

import functools
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, report_errors
from harness.cli.options import (
    changed_data,
    data_options,
    json_option,
    make_location,
    open_store,
    require_data,
    shared_cache_of,
    shared_cache_option,
    with_changes,
)
from harness.cli.runs.displays.tracking import Tracking, tracking_options, warn_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.sweep.definition.file import Sweep
    from harness.sweep.run import SweepReport


@click.command()
@click.argument("sweep", metavar="[SWEEP|FILE]", required=False)
@click.option("--suite", metavar="SUITE|FILE", help="Instead of a sweep: search on this suite's cells; see --space.")
@click.option(
    "--space",
    "spaces",
    multiple=True,
    metavar="[SPLITTER.]SETTING=LOW:HIGH",
    help="A setting that is searched with --suite, e.g. --space gradsplitter.alpha=0.1:2.0:log, "
    "--space gradsplitter.batch_size=[16,32]. Repeatable.",
)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Total number of trials of the study.")
@click.option("--results", metavar="URI", help="Folder or pyarrow.fs URI of the rows. [default: results/SWEEP]")
@click.option("--address", metavar="ADDR", help="A Ray cluster. [default: RAY_ADDRESS, else this machine]")
@shared_cache_option
@data_options
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the sweep, e.g. --set concurrency=1 --set splitters.gradsplitter.rounds=8. Repeatable.",
)
@click.option("--shard", metavar="K/N", help="With all trials finished: score this share of the cells on test only.")
@tracking_options
@click.option("--force", is_flag=True, help="Run even if the cluster's machines differ in versions.")
@click.option("--dry-run", is_flag=True, help="Show finished trials and what would be run, run nothing.")
@json_option
@report_errors
def command(
    sweep: str | None,
    suite: str | None,
    spaces: tuple[str, ...],
    trials: int | None,
    results: str | None,
    address: str | None,
    shared_cache: str | None,
    data_root: Path | None,
    download: bool,
    changes: tuple[str, ...],
    shard: str | None,
    tracking: Tracking,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Search settings to a Pareto front: a name from 'splitbench ls sweeps', or a YAML file (docs/sweeps.md).

    Without a file, --suite names the cells and --space what is searched; small losses and few kernels are the aim.

    Trials are chosen on select images; the front is scored on test, once. The same command resumes a sweep that was
    stopped or killed; trials that still fit an edited file are reused.
    """  # fmt: skip
    from harness.cli.output import progress_console, show, show_json
    from harness.cli.runs.displays.sweep_display import SweepDisplay
    from harness.config.trust import trust_named
    from harness.execution.attempt import Surroundings
    from harness.machines.node_facts import versions
    from harness.runs.shard import Shard
    from harness.sweep.listener import TrackedSweep
    from harness.sweep.plan import plan_sweep
    from harness.sweep.plan_view import opening_lines, sweep_plan_object, sweep_plan_view
    from harness.sweep.run import run_sweep

    part = Shard.parse(shard) if shard else None
    loaded = _load(sweep, suite, spaces, with_changes(changes, trials=trials))
    location = results or f"results/{loaded.name}"
    store = open_store(location)
    location_of_data = make_location(data_root, download, loaded.plugin_modules)
    find_changed = functools.partial(changed_data, location=location_of_data)
    plan = plan_sweep(loaded, store, quarantine=not dry_run, find_changed=find_changed)
    if dry_run:
        show_json(sweep_plan_object(plan, location)) if as_json else show(sweep_plan_view(plan))
        return
    trust_named(loaded.plugin_modules, loaded.model_dump(mode="json"))
    if plan.n_to_run:
        require_data(loaded.datasets, location_of_data)
    console = progress_console()
    for line in opening_lines(plan):
        console.print(line, soft_wrap=True, markup=False)
    surroundings = Surroundings(
        suite=loaded.name,
        cache=location_of_data.cache,
        data_root=location_of_data.data_root,
        download=download,
        plugins=loaded.plugin_modules,
        shared_cache=shared_cache_of(shared_cache, results=location, address=address),
        expected={} if force else versions(),
    )
    with ExitStack() as stack:
        trackers = tracking.enter(stack, loaded.name)
        listener = TrackedSweep(stack.enter_context(SweepDisplay(console, plan.time_left())), trackers)
        report = run_sweep(plan, store, surroundings, listener=listener, address=address, shard=part)
    warn_of(listener.tracking_error)
    show_json(_report_object(report, location)) if as_json else _show_report(report, location)
    sys.exit(_exit_code(report))


def _load(sweep: str | None, suite: str | None, spaces: Sequence[str], changes: Sequence[str]) -> Sweep:
    from harness.sweep.definition.from_suite import sweep_of_suite
    from harness.sweep.definition.load import load_sweep

    if sweep is not None and suite is None and not spaces:
        return load_sweep(sweep, changes=changes)
    if suite is None or sweep is not None:
        raise click.UsageError("name a sweep, or a suite by --suite with what is searched by --space")
    return sweep_of_suite(suite, spaces, changes=changes)


def _show_report(report: SweepReport, location: str) -> None:
    from rich.text import Text

    from harness.cli.output import show
    from harness.sweep.view import results_view

    show(results_view(report.results, location=location))
    show(Text("\n".join(_closing(report, location))))


def _closing(report: SweepReport, location: str) -> list[str]:
    from harness.cli.runs.left_cells import left_text
    from harness.store import beneath
    from harness.views.quantities import duration_text

    known = len(report.plan.trials.finished)
    if report.interrupted:
        lines = [f"Interrupted after {report.run_trials} trials; the same command continues from here."]
    elif report.spent:
        lines = [f"The budget was spent after {report.run_trials} trials; the same command continues from here."]
    elif report.run_trials:
        lines = [f"{report.run_trials} trials run in {duration_text(report.seconds)}, {known} were known before."]
    else:
        lines = [f"No trial to run: {known} of {report.plan.sweep.trials} are known. More: --trials N."]
    if report.left_to_others:
        lines.append(left_text(report.left_to_others, way_out="run the sweep again later"))
    if report.is_exhausted:
        lines.append(f"The search space is exhausted after {len(report.results.trials.finished)} of "
                     f"{report.plan.sweep.trials} trials.")  # fmt: skip
    if report.duplicates:
        lines.append(f"{report.duplicates} proposals repeated a known configuration and were answered from its rows.")
    lines += [f"Refused {times} ×: {reason}" for reason, times in report.refusals.items()]
    return [*lines, f"Rows: {beneath(location, 'rows')}", f"Curves: {beneath(location, 'curves')}"]


def _report_object(report: SweepReport, location: str) -> dict[str, Any]:
    from harness.cli.runs.left_cells import left_objects
    from harness.sweep.view import results_object

    return {
        **results_object(report.results, location=location),
        "interrupted": report.interrupted,
        "budget_spent": report.spent,
        "left_to_others": left_objects(report.left_to_others),
        "exhausted": report.is_exhausted,
        "run_trials": report.run_trials,
        "known_trials": len(report.plan.trials.finished),
        "unscored_cells": report.unscored,
        "seconds": report.seconds,
        "max_concurrent_trials": report.concurrency,
        "changed": list(report.plan.continuation.changed),
        "grown": list(report.plan.continuation.grown),
        "answered_proposals": report.duplicates,
        "refused_proposals": dict(report.refusals),
    }


def _exit_code(report: SweepReport) -> int:
    from harness.sweep.study.trials import TrialState

    if report.interrupted:
        return EXIT_INTERRUPTED
    trials, left = report.results.trials, report.left_to_others.keys()
    failed = any(trial.state is TrialState.FAILED for trial in trials.all)
    unfinished = [t for t in trials.unfinished if not left & {item.cell.cell_id for item in t.missing}]
    return EXIT_FAILED if failed or report.unscored or (unfinished and not report.spent) else 0
