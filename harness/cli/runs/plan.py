"""``splitbench plan``: what a run would do."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import (
    changed_data,
    data_options,
    default_results,
    json_option,
    listed,
    make_location,
    open_store,
    read_cells,
    refuse_for_sweeps,
    report_missing_data,
    shard_option,
    suite_options,
)
from harness.garbage_collection import without_garbage_collection

if TYPE_CHECKING:
    from harness.clusters.cluster_file import ClusterFile


@click.command()
@suite_options
@shard_option
@data_options
@click.option(
    "--cluster",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A cluster file, as for 'ray up': adds GPU hours and cost.",
)
@json_option
@report_errors
@without_garbage_collection
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
    cluster: Path | None,
    as_json: bool,
) -> None:
    """Show which cells of a suite are done, failed or to do, and how long they may take; for a sweep, its trials."""
    from harness.cli.output import show, show_json
    from harness.clusters.bill import bill_of
    from harness.clusters.bill_view import bill_line, bill_object
    from harness.clusters.cluster_file import read_cluster_file
    from harness.config.expand import plugins_of
    from harness.config.suite import names_sweep
    from harness.planning.missing_data import datasets_of
    from harness.planning.plan import PLAN_COLUMNS, make_plan
    from harness.views.failures import unreadable_view
    from harness.views.plan import plan_object, plan_view

    described = read_cluster_file(cluster) if cluster else None
    if described:
        described.require_filled_in()
    if names_sweep(suite):
        refuse_for_sweeps({"--only": only, "--seeds": seeds, "--shard": shard, "--retry": retry})
        _plan_sweep(suite, changes, results, data_root, download, described, as_json)
        return
    loaded, cells = read_cells(suite, changes, only, seeds, shard=shard)
    contents = open_store(results or default_results(loaded)).read(columns=PLAN_COLUMNS)
    latest = contents.latest()
    location = make_location(data_root, download, plugins_of(loaded))
    changed = changed_data(cells, latest, location)
    plan = make_plan(cells, latest, retry=listed(retry, "--retry", "kind of failure"), outdated=changed.attempts)
    needed = [] if cluster else datasets_of(item.cell for item in plan.queue())
    missing = report_missing_data(needed, location, last_data_root=True)
    bill = bill_of(plan, described, gpu_share=loaded.gpu_share) if described else None
    if as_json:
        known = {**plan_object(plan, loaded.name), "missing_data": list(missing)}
        show_json({**known, **({"bill": bill_object(bill)} if bill else {})})
        return
    show(plan_view(plan))
    if bill:
        show(bill_line(bill))
    if contents.damaged or contents.being_written:
        show(unreadable_view(contents))


def _plan_sweep(
    sweep: str,
    changes: tuple[str, ...],
    results: str | None,
    data_root: Path | None,
    download: bool,
    cluster: ClusterFile | None,
    as_json: bool,
) -> None:
    from harness.cli.output import show, show_json
    from harness.clusters.bill import bill_of
    from harness.clusters.bill_view import bill_line, bill_object
    from harness.sweep import load_sweep
    from harness.sweep.plan import plan_sweep
    from harness.sweep.plan_view import sweep_plan_object, sweep_plan_view

    loaded = load_sweep(sweep, changes=changes)
    location = results or f"results/{loaded.name}"
    location_of_data = make_location(data_root, download, loaded.plugin_modules)
    find_changed = functools.partial(changed_data, location=location_of_data)
    plan = plan_sweep(loaded, open_store(location), find_changed=find_changed)
    if plan.n_to_run and cluster is None:
        report_missing_data(loaded.datasets, location_of_data, last_data_root=True)
    bill = bill_of(plan.expected(), cluster, gpu_share=loaded.gpu_share) if cluster else None
    if as_json:
        show_json({**sweep_plan_object(plan, location), **({"bill": bill_object(bill)} if bill else {})})
        return
    show(sweep_plan_view(plan))
    if bill:
        show(bill_line(bill))
