"""What a sweep would do, for the terminal and as plain values."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.sweep.plan import SweepPlan
from harness.views.quantities import duration_text


def opening_lines(plan: SweepPlan) -> list[str]:
    """Return the lines shown before the trials: which study this is, why, and how many trials it has already."""
    continuation = plan.continuation
    lines = []
    if continuation.changed:
        lines.append(
            f"A new study, {continuation.study}, because the sweep differs from {continuation.earlier[-1].study}:"
        )
        lines += [f"  {reason}" for reason in continuation.changed]
        lines.append("Rows that fit are reused.")
    elif continuation.grown:
        lines.append(f"Study {continuation.study} has grown: {'; '.join(continuation.grown)}.")
    if plan.trials.all:
        n_finished, n_open = len(plan.trials.finished), len(plan.trials.unfinished)
        lines.append(
            f"{n_finished} trials are known from rows" + (f", {n_open} more are unfinished." if n_open else ".")
        )
    return lines


def sweep_plan_view(plan: SweepPlan) -> RenderableType:
    """Return what a sweep would do, for the terminal."""
    lines = [*opening_lines(plan), f"{plan.n_to_run} of {plan.sweep.trials} trials are to be run."]
    lines.append(
        f"A trial runs {plan.cells_per_trial} cells." + (" Races may end it earlier." if plan.sweep.race else "")
    )
    for space in plan.sweep.spaces:
        points = "continuous" if space.size is None else f"{space.size} point{'s' if space.size > 1 else ''} at most"
        names = ", ".join(parameter.name for parameter in space.parameters) or "nothing"
        lines.append(f"  {space.label}: {names} ({points})")
    seconds = plan.seconds_per_trial
    if plan.n_to_run:
        known = (
            "no history" if seconds is None else f"about {duration_text(seconds * plan.n_to_run)} one after the other"
        )
        lines.append(f"Time: {known}.")
    return Text("\n".join(lines))


def sweep_plan_object(plan: SweepPlan, location: str) -> dict[str, Any]:
    """Return what a sweep would do as plain values, for JSON."""
    return {
        "sweep": plan.sweep.name,
        "study": plan.continuation.study,
        "results": location,
        "changed": list(plan.continuation.changed),
        "grown": list(plan.continuation.grown),
        "wanted_trials": plan.sweep.trials,
        "known_trials": len(plan.trials.finished),
        "unfinished_trials": len(plan.trials.unfinished),
        "to_run": plan.n_to_run,
        "seconds_per_trial": plan.seconds_per_trial,
        "spaces": {
            space.label: {"size": space.size, "parameters": [parameter.name for parameter in space.parameters]}
            for space in plan.sweep.spaces
        },
    }
