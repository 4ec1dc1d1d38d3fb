"""``splitbench plan``: what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import told_plainly
from harness.cli.options import default_results, json_option, open_store, read_cells, split_kinds, suite_options

if TYPE_CHECKING:
    from harness.plan import Plan


@click.command()
@suite_options
@json_option
@told_plainly
def command(
    suite: str,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    seeds: int | None,
    retry: str | None,
    results: str | None,
    as_json: bool,
) -> None:
    """Show which cells of a suite are done, failed or to do, and how long they may take."""  # fmt: skip
    from harness.cli.output import show, show_json
    from harness.plan import make_plan
    from harness.report import damaged_view, plan_view

    loaded, cells = read_cells(suite, changes, only, seeds)
    contents = open_store(results or default_results(loaded)).read()
    plan = make_plan(cells, contents.latest(), retry=split_kinds(retry))
    if as_json:
        show_json(plan_object(plan, loaded.name))
        return
    show(plan_view(plan))
    if contents.damaged:
        show(damaged_view(contents.damaged))


def plan_object(plan: Plan, suite: str) -> dict[str, Any]:
    """Returns a plan as plain values."""
    from harness.plan import Status

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
