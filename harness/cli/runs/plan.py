"""``splitbench plan``: what a run would do."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import told_plainly
from harness.cli.options import (
    changed_data,
    default_results,
    json_option,
    names_sweep,
    open_store,
    read_cells,
    refuse_for_sweeps,
    shard_option,
    split_kinds,
    suite_options,
)

if TYPE_CHECKING:
    from harness.clusters.bill import Bill
    from harness.clusters.cluster_file import ClusterFile
    from harness.planning.plan import Plan


@click.command()
@suite_options
@shard_option
@click.option(
    "--cluster",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A cluster's file, as 'ray up' takes it: add GPU hours and money.",
)
@json_option
@told_plainly
def command(
    suite: str,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    seeds: int | None,
    shard: str | None,
    retry: str | None,
    results: str | None,
    cluster: Path | None,
    as_json: bool,
) -> None:
    """Show which cells of a suite are done, failed or to do, and how long they may take; of a sweep, its trials."""
    from harness.cli.output import show, show_json
    from harness.clusters.bill import bill_of
    from harness.clusters.cluster_file import read_cluster_file
    from harness.planning.plan import make_plan
    from harness.views.failures import unreadable_view
    from harness.views.plan import plan_view

    described = read_cluster_file(cluster) if cluster else None
    if names_sweep(suite):
        refuse_for_sweeps({"--only": only, "--seeds": seeds, "--shard": shard, "--retry": retry})
        _plan_sweep(suite, changes, results, described, as_json)
        return
    loaded, cells = read_cells(suite, changes, only, seeds, shard=shard)
    contents = open_store(results or default_results(loaded)).read()
    latest = contents.latest()
    changed = changed_data(cells, latest, None)
    plan = make_plan(cells, latest, retry=split_kinds(retry), outdated=changed.attempts)
    bill = bill_of(plan, described, gpu_share=loaded.gpu_share) if described else None
    if as_json:
        show_json({**plan_object(plan, loaded.name), **({"bill": bill_object(bill)} if bill else {})})
        return
    show(plan_view(plan))
    if bill:
        show(_bill_line(bill))
    if contents.damaged or contents.being_written:
        show(unreadable_view(contents))


def _plan_sweep(
    sweep: str, changes: tuple[str, ...], results: str | None, cluster: ClusterFile | None, as_json: bool
) -> None:
    from harness.cli.output import show, show_json
    from harness.cli.runs.sweep import sweep_plan_object, sweep_plan_text
    from harness.clusters.bill import bill_of
    from harness.sweep import load_sweep
    from harness.sweep.plan import plan_sweep

    loaded = load_sweep(sweep, changes=changes)
    location = results or f"results/{loaded.name}"
    find_changed = functools.partial(changed_data, data_root=None)
    plan = plan_sweep(loaded, open_store(location), find_changed=find_changed)
    bill = bill_of(plan.expected(), cluster, gpu_share=loaded.gpu_share) if cluster else None
    if as_json:
        show_json({**sweep_plan_object(plan, location), **({"bill": bill_object(bill)} if bill else {})})
        return
    show(sweep_plan_text(plan))
    if bill:
        show(_bill_line(bill))


def plan_object(plan: Plan, suite: str) -> dict[str, Any]:
    """Returns a plan as plain values."""
    from harness.planning.plan import Status

    return {
        "suite": suite,
        "counts": {status.value: len(plan.with_status(status)) for status in Status},
        "seconds": plan.seconds,
        "without_history": plan.without_history,
        "cells": [
            {
                "cell_id": planned.item.cell.cell_id,
                "scenario": planned.item.cell.scenario,
                "splitter": planned.item.cell.splitter.name,
                "label": planned.item.splitter,
                "model": planned.item.cell.model.name,
                "dataset": planned.item.cell.dataset.name,
                "seed": planned.item.cell.seed,
                "status": planned.status.value,
                "state": planned.earlier.state.value if planned.earlier else None,
                "seconds": planned.seconds,
            }
            for planned in plan.cells
        ],
    }


def bill_object(bill: Bill) -> dict[str, Any]:
    """Returns what a plan costs as plain values."""
    return {**vars(bill), "worker": bill.worker.name if bill.worker else None}


def _bill_line(bill: Bill) -> str:
    from harness.views.quantities import duration_text

    if not bill.cells or bill.worker is None:
        reason = "no earlier row tells how long they take" if bill.without_history else "there is nothing to do"
        return f"On the cluster: no estimate, for {reason}."
    if bill.worker_hours is None or bill.hours is None:
        return (
            f"On the cluster: no estimate, for the file does not say how many CPUs and GPUs a {bill.worker.name} has; "
            "write it under 'resources', e.g. {CPU: 8, GPU: 1}, or for the provider local under 'metadata.splitbench'."
        )
    parts = [f"{bill.gpu_hours:.2f} GPU hours"] if bill.gpu_hours else []
    parts.append(f"{bill.worker_hours:.2f} hours of {bill.worker.name}")
    parts.append(f"{duration_text(bill.hours * 3600)} with all {bill.worker.most}")
    price = "the file names no price" if bill.money is None else f"{bill.money:.2f} {bill.currency}"
    left = f" {bill.without_history} cells without history are not in it." if bill.without_history else ""
    return (
        f"On the cluster, if its machines are as fast as those of the earlier rows: {', '.join(parts)}; {price}.{left}"
    )
