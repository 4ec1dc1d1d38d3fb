"""Plans, for the terminal and as plain values."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.planning.plan import Plan, PlannedCell, Status
from harness.suite_cell import ID_LENGTH
from harness.text import counted
from harness.views.quantities import duration_text


def plan_view(plan: Plan) -> RenderableType:
    """Return a plan: a line per cell, and a summary."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("status", no_wrap=True)
    table.add_column("cell", overflow="fold")
    table.add_column("id", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for planned in plan.cells:
        style = {Status.DONE: "green", Status.FAILED: "red", Status.TO_DO: ""}[planned.status]
        table.add_row(
            Text(planned.status.value, style=style),
            planned.item.title,
            planned.item.cell.cell_id[:ID_LENGTH],
            _planned_time(planned),
        )
    return Group(table, Text(plan_summary(plan), style="bold"))


def _planned_time(planned: PlannedCell) -> str:
    if planned.status is not Status.TO_DO:
        return duration_text(planned.earlier.seconds) if planned.earlier else ""
    return "no history" if planned.seconds is None else f"about {duration_text(planned.seconds)}"


def plan_summary(plan: Plan) -> str:
    """Return a plan's summary in one line: counts, and an estimate of its duration."""
    counts = [f"{len(plan.with_status(status))} {status.value}" for status in Status]
    line = f"{counted(len(plan.cells), 'cell')}: {', '.join(counts)}."
    if plan.seconds:
        line += f" About {duration_text(plan.seconds)} one after the other"
        line += f", {plan.without_history} without history." if plan.without_history else "."
    elif plan.without_history:
        line += " No history to estimate the time from."
    return line


def plan_object(plan: Plan, suite: str) -> dict[str, Any]:
    """Return a plan as plain values, for JSON."""
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
