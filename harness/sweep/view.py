"""A study as rich shows it in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.ranking.statistics import Estimate
from harness.suite_cell import ID_LENGTH
from harness.sweep.importances import importances
from harness.sweep.objectives import Objective
from harness.sweep.objects import reason, rerun_command
from harness.sweep.results import SweepResults
from harness.sweep.reuse import Reused
from harness.sweep.trials import Trial, TrialState
from harness.views.quantities import duration_text

_BARS = "▁▂▃▄▅▆▇█"
_MOST_FAILURES = 5


def results_view(results: SweepResults, *, location: str, reused: Sequence[Reused] = ()) -> RenderableType:
    """Returns a study for the terminal: front, best, hypervolume, what matters, what failed, what was reused.

    Args:
        results: The study.
        location: Where its rows are, for commands.
        reused: What it did not have to do again.
    """
    parts: list[RenderableType] = [Text(_headline(results), style="bold")]
    if not results.book.complete:
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
    parts += [Text(line, style="dim") for line in [*_legend(results), *_reuse_lines(reused)]]
    example = next(iter(results.front or best), None)
    if example is not None:
        command = Text(rerun_command(results, example, location), style="cyan")
        parts.append(Text(f"\nRun trial {example.number} again: ").append_text(command))
    return Group(*parts)


def _headline(results: SweepResults) -> str:
    counts = Counter(trial.state for trial in results.book.trials)
    told = ", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state])
    return f"{results.sweep.name} · study {results.study} · {len(results.book.over)} trials ({told or 'none yet'})"


def _trials_table(results: SweepResults, trials: Sequence[Trial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("splitter", no_wrap=True)
    table.add_column("configuration", overflow="fold", ratio=1)
    for goal in results.sweep.goals:
        arrow = "↓" if goal.direction == "min" else "↑"
        table.add_column(f"{_heading(goal)} {arrow}\nselect{_unit(goal)}", justify="right", no_wrap=True)
        if goal.column != goal.name:
            table.add_column("\ntest", justify="right", no_wrap=True)
    table.add_column("first cell", no_wrap=True)
    for trial in trials:
        is_default = trial.candidate.spec == trial.candidate.space.base
        table.add_row(
            str(trial.number),
            trial.candidate.space.label,
            configuration_text(trial) + (" (default)" if is_default else ""),
            *_numbers(results, trial),
            _first_cell(results, trial),
        )
    return table


def configuration_text(trial: Trial) -> str:
    """Returns what a trial's configuration gives the searched settings, in one line."""
    values = trial.candidate.values.items()
    return ", ".join(f"{name}={_value_text(value)}" for name, value in values) or "no setting is searched"


def _value_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _first_cell(results: SweepResults, trial: Trial) -> str:
    scored = results.test_rows(trial)
    return (scored[0].cell_id if scored else trial.candidate.items[0].cell.cell_id)[:ID_LENGTH]


def _numbers(results: SweepResults, trial: Trial) -> list[str]:
    on_test = results.test_values(trial)
    texts = []
    for goal in results.sweep.goals:
        texts.append(value_text(goal, trial.values.get(goal.name)))
        if goal.column != goal.name:
            texts.append(value_text(goal, on_test.get(goal.name)))
    return texts


def value_text(goal: Objective, value: Estimate | None) -> str:
    """Returns an objective's mean with half its interval: fractions in hundredths, times with their unit."""
    if value is None:
        return "–"
    if goal.name.endswith("seconds"):
        return duration_text(value.mean)
    scale = 100 if goal.worst is not None else 1
    digits = 2 if goal.name.endswith("loss") else 1
    # Adding zero turns a rounded minus zero into zero.
    mean = f"{round(scale * value.mean, digits) + 0:.{digits}f}" if scale == 100 else f"{value.mean:.4g}"
    if value.half_width is None:
        return mean
    spread = f"{100 * value.half_width:.{digits}f}" if scale == 100 else f"{value.half_width:.2g}"
    return f"{mean} ±{spread}"


def _heading(goal: Objective) -> str:
    return {"accuracy_loss": "loss", "kernel_retention": "kernels"}.get(goal.name, goal.name.replace("_", " "))


def _unit(goal: Objective) -> str:
    if goal.worst is None:
        return ""
    return ", points" if goal.name.endswith("loss") else ", %"


def _volume_lines(results: SweepResults) -> list[str]:
    steps = [volume for _, _, volume in results.over_time]
    corner = ", ".join(
        f"{goal.name} {goal.cost(value):.4g}"
        for goal, value in zip(results.sweep.goals, results.reference, strict=True)
    )
    lines = [f"Hypervolume {results.hypervolume:.4f} (up to {corner})"]
    if results.defaults:
        lines[0] += f"; the default settings alone: {results.volume(results.defaults):.4f}"
    top = max(steps, default=0.0)
    if top > 0:
        bars = "".join(_BARS[min(len(_BARS) - 1, int(volume / top * len(_BARS)))] for volume in steps)
        lines.append(f"over the trials as they ended: {bars}")
    return lines


def _importances(results: SweepResults) -> list[RenderableType]:
    found = importances(results)
    if not found:
        return []
    lines: list[RenderableType] = [Text("\nWhat matters (share of each objective's variance)", style="bold")]
    for label, objectives in found.items():
        for objective, shares in objectives.items():
            told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            lines.append(Text(f"  {label} · {objective}: {told or 'all alike'}"))
    return lines


def _failures(results: SweepResults) -> list[RenderableType]:
    failed = [trial for trial in results.book.trials if trial.state is TrialState.FAILED]
    lines: list[RenderableType] = [Text("\nFailed", style="bold red")] if failed else []
    for trial in failed[:_MOST_FAILURES]:
        lines.append(
            Text(f"  {trial.number} {trial.candidate.space.label} {configuration_text(trial)}: {reason(trial)}")
        )
    if len(failed) > _MOST_FAILURES:
        lines.append(Text(f"  and {len(failed) - _MOST_FAILURES} more; --json lists all"))
    return lines


def _legend(results: SweepResults) -> list[str]:
    n_seeds = len(results.sweep.seeds)
    spread = "± is half a 95 % t-interval" if n_seeds > 1 else "one seed has no interval"
    lines = [f"\nMeans over {n_seeds} seed(s); {spread}. Chosen on select images; test was read for these alone."]
    if results.others:
        lines.append(f"Other studies here (--study ID): {', '.join(results.others)}")
    return lines


def _reuse_lines(reused: Sequence[Reused]) -> list[str]:
    if not reused:
        return []
    told = [
        f"{entry.times} × {entry.stage} ({duration_text(entry.saved_seconds)}; done {entry.made} ×)" for entry in reused
    ]
    return [f"Reused instead of done again: {', '.join(told)}"]
