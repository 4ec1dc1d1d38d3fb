"""A study for the terminal, and as plain values for programs."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.ranking.statistics import Estimate
from harness.suite_cell import ID_LENGTH
from harness.sweep.definition.objectives import Objective, column_facts
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import Trial, TrialState
from harness.views.quantities import duration_text

_BARS = "▁▂▃▄▅▆▇█"
_MAX_FAILURES = 5


def results_view(results: SweepResults, *, location: str) -> RenderableType:
    """Return a study for the terminal: front, best, defaults, hypervolume, importances, failures.

    Args:
        results: The study's results.
        location: Its results folder, for commands.
    """
    parts: list[RenderableType] = [Text(_headline(results), style="bold")]
    if not results.trials.complete:
        return Group(*parts, *_failures(results), Text("No trial is complete yet; there is no front."))
    parts += [Text("\nPareto front", style="bold"), _trials_table(results, results.front)]
    if not results.front:
        parts.append(Text(f"No complete trial keeps {' and '.join(bound.text for bound in results.sweep.bounds)}."))
    best = list(results.best.values())
    if best:
        parts += [Text("Best of each splitter", style="bold"), _trials_table(results, best)]
    others = [trial for trial in results.defaults if trial not in [*results.front, *best]]
    if others:
        parts += [Text("Default settings, for comparison", style="bold"), _trials_table(results, others)]
    parts += [Text(line) for line in _volume_lines(results)]
    parts += [*_importances(results), *_failures(results)]
    parts += [Text(line, style="dim") for line in _legend(results)]
    example = next(iter(results.front or best), None)
    if example is not None:
        command = Text(rerun_command(results, example, location), style="cyan")
        parts.append(Text(f"\nRun trial {example.number} again: ").append_text(command))
    return Group(*parts)


def _headline(results: SweepResults) -> str:
    counts = Counter(trial.state for trial in results.trials.all)
    states = ", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state])
    n_finished = len(results.trials.finished)
    return f"{results.sweep.name} · study {results.study} · {n_finished} trials ({states or 'none yet'})"


def _trials_table(results: SweepResults, trials: Sequence[Trial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("splitter", no_wrap=True)
    table.add_column("configuration", overflow="fold", ratio=1)
    for goal in results.sweep.goals:
        arrow = "↓" if goal.direction == "min" else "↑"
        title = {"accuracy_loss": "loss", "kernel_retention": "kernels"}.get(goal.name, goal.name.replace("_", " "))
        table.add_column(f"{title} {arrow}\nselect{_unit(goal)}", justify="right", no_wrap=True)
        if goal.column != goal.name:
            table.add_column("\ntest", justify="right", no_wrap=True)
    table.add_column("first cell", no_wrap=True)
    for trial in trials:
        on_test, values = results.test_values(trial), []
        for goal in results.sweep.goals:
            values.append(value_text(goal, trial.values.get(goal.name)))
            if goal.column != goal.name:
                values.append(value_text(goal, on_test.get(goal.name)))
        configuration = configuration_text(trial) + (" (default)" if trial.configuration.is_default else "")
        first_cell = _cell_ids(results, trial)[0][:ID_LENGTH]
        # Labels and settings are foreign strings, and may look like markup.
        table.add_row(str(trial.number), Text(trial.label), Text(configuration), *values, first_cell)
    return table


def configuration_text(trial: Trial) -> str:
    """Return the searched settings of a trial in one line."""
    texts = {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in trial.configuration.values.items()
    }
    return ", ".join(f"{name}={text}" for name, text in texts.items()) or "no setting is searched"


def value_text(goal: Objective, value: Estimate | None) -> str:
    """Return an objective's mean and half its interval: fractions in hundredths, times with their unit."""
    if value is None:
        return "–"
    unit = column_facts(goal.name).get("unit")
    if unit == "seconds":
        return duration_text(value.mean)
    digits = 2 if goal.name.endswith("loss") else 1
    if unit != "fraction":
        spread = "" if value.half_width is None else f" ±{value.half_width:.2g}"
        return f"{value.mean:.4g}{spread}"
    spread = "" if value.half_width is None else f" ±{100 * value.half_width:.{digits}f}"
    # Adding zero turns a rounded minus zero into zero.
    return f"{round(100 * value.mean, digits) + 0:.{digits}f}{spread}"


def _unit(goal: Objective) -> str:
    if column_facts(goal.name).get("unit") != "fraction":
        return ""
    return ", points" if goal.name.endswith("loss") else ", %"


def _volume_lines(results: SweepResults) -> list[str]:
    volumes = [volume for _, _, volume in results.over_time]
    corner = ", ".join(f"{name} {value:.4g}" for name, value in _reference(results).items())
    lines = [f"Hypervolume {results.volume(results.front):.4f} (up to {corner})"]
    if results.defaults:
        lines[0] += f"; the default settings alone: {results.volume(results.defaults):.4f}"
    top = max(volumes, default=0.0)
    if top > 0:
        bars = "".join(_BARS[min(len(_BARS) - 1, int(volume / top * len(_BARS)))] for volume in volumes)
        lines.append(f"hypervolume after each trial: {bars}")
    return lines


def _reference(results: SweepResults) -> dict[str, float]:
    return {goal.name: goal.cost(cost) for goal, cost in zip(results.sweep.goals, results.reference, strict=True)}


def _importances(results: SweepResults) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for label, objectives in results.importances().items():
        for objective, shares in objectives.items():
            texts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            lines.append(Text(f"  {label} · {objective}: {texts or 'all alike'}"))
    title = Text("\nWhat matters (share of each objective's variance)", style="bold")
    return [title, *lines] if lines else []


def _failures(results: SweepResults) -> list[RenderableType]:
    failed = [trial for trial in results.trials.all if trial.state is TrialState.FAILED]
    lines: list[RenderableType] = [Text("\nFailed", style="bold red")] if failed else []
    for trial in failed[:_MAX_FAILURES]:
        lines.append(Text(f"  {trial.number} {trial.label} {configuration_text(trial)}: {trial.reason}"))
    if len(failed) > _MAX_FAILURES:
        lines.append(Text(f"  and {len(failed) - _MAX_FAILURES} more; --json lists all"))
    return lines


def _legend(results: SweepResults) -> list[str]:
    n_seeds = len(results.sweep.seeds)
    spread = "± is half a 95 % t-interval" if n_seeds > 1 else "one seed has no interval"
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    lines = [f"\nMeans over {seeds}; {spread}. Chosen on select images; only these trials were scored on test."]
    if results.others:
        lines.append(f"Other studies here (--study ID): {', '.join(results.others)}")
    return lines


def _cell_ids(results: SweepResults, trial: Trial) -> list[str]:
    """Return the cells that score a trial on test if they have rows, else those of the trial."""
    scored = [row.cell_id for row in results.test_rows(trial)]
    return scored or [item.cell.cell_id for item in trial.configuration.items]


def rerun_command(results: SweepResults, trial: Trial, location: str) -> str:
    """Return the command that runs a trial's cells again."""
    ids = " ".join(cell_id[:ID_LENGTH] for cell_id in _cell_ids(results, trial))
    return f"splitbench rerun {ids} --results {shlex.quote(location)}"


def results_object(results: SweepResults, *, location: str) -> dict[str, Any]:
    """Return a study as plain values: trials, front, hypervolume, best, importances."""
    started = min((trial.started_at for trial in results.trials.all), default=None)
    return {
        "sweep": results.sweep.name,
        "study": results.study,
        "results": location,
        "other_studies": list(results.others),
        "objectives": dict(results.sweep.objectives),
        "constraints": [bound.text for bound in results.sweep.bounds],
        "reference": _reference(results),
        "wanted_trials": results.sweep.trials,
        "trials": [trial_object(results, trial, location) for trial in results.trials.all],
        "front": [trial_object(results, trial, location) for trial in results.front],
        "hypervolume": {
            "value": results.volume(results.front),
            "default": results.volume(results.defaults),
            "over_time": [
                {
                    "trial": trial.number,
                    "at": at.isoformat(),
                    "seconds": (at - started).total_seconds() if started is not None else 0.0,
                    "hypervolume": volume,
                }
                for trial, at, volume in results.over_time
            ],
        },
        "best": {label: trial_object(results, trial, location) for label, trial in results.best.items()},
        "importances": results.importances(),
    }


def trial_object(results: SweepResults, trial: Trial, location: str) -> dict[str, Any]:
    """Return a trial as plain values: its configuration, and its objectives on select and on test."""
    configuration = trial.configuration
    return {
        "number": trial.number,
        "splitter": configuration.space.splitter,
        "label": trial.label,
        "configuration": dict(configuration.values),
        "settings": dict(configuration.spec.settings),
        "state": trial.state.value,
        "reason": trial.reason,
        "is_default": configuration.is_default,
        "seeds": trial.seeds,
        "objectives": {
            goal.name: {
                **vars(trial.values[goal.name]),
                "by_seed": {str(seed): goal.cost(costs[index]) for seed, costs in trial.seed_costs.items()},
            }
            for index, goal in enumerate(trial.goals)
            if goal.name in trial.values
        },
        "constraints": {
            text: {"mean": value.mean, "violation": trial.violations[text]}
            for text, value in trial.bound_values.items()
        },
        "feasible": trial.is_feasible,
        "test": {name: vars(value) for name, value in results.test_values(trial).items()},
        "seconds": trial.seconds,
        "cell_ids": [item.cell.cell_id for item in configuration.items],
        "test_cell_ids": [row.cell_id for row in results.test_rows(trial)],
        "rerun": rerun_command(results, trial, location),
    }
