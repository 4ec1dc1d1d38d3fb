"""Sweeps: their front, how it grew, which settings matter, and what good settings have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.report.charts.chart import Chart, Spec, dataset, faded_unless_shown, quantity, tooltip, whole_numbers
from harness.report.data import ReportData, spread
from harness.suite_cell import ID_LENGTH
from harness.sweep.definition.objectives import Objective, column_facts
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import Trial
from harness.sweep.view import configuration_text

MAX_TRIALS = 1000
"""Trials of one chart."""

_MAX_LINES = 250
"""Lines of one chart of parallel coordinates."""

_SHAPES = ("circle", "triangle-up", "square", "diamond")

_ONE_COLUMN = 10_000
"""Wider than any chart; see ``wrapped_legend``."""

_GOOD_TO_BAD = ["#4f8ae0", "#b065b8", "#d99a26"]


def sweep_charts(data: ReportData, number: int, results: SweepResults) -> Iterator[Chart]:
    """Yield the charts of a study; none before its first trial is complete."""
    if not results.trials.complete:
        return
    if len(results.sweep.goals) > 1:
        yield _front(data, number, results)
    yield _history(number, results)
    yield from _importances(data, number, results)
    for index, space in enumerate(results.sweep.spaces):
        trials = [trial for trial in results.trials.complete if trial.label == space.label]
        if space.parameters and len(trials) > 1:
            yield _parallel(f"parallel-{number}-{index}", space.label, trials, results.sweep.goals)


def _front(data: ReportData, number: int, results: SweepResults) -> Chart:
    first, second = results.sweep.goals[:2]
    front = {trial.number for trial in results.front}
    trials = spread(results.trials.complete, MAX_TRIALS)
    points: list[dict[str, Any]] = [
        {
            "method": trial.label,
            "trial": trial.number,
            "x": _value(second, trial.values[second.name].mean),
            "y": _value(first, trial.values[first.name].mean),
            "setting": configuration_text(trial),
            "front": "yes" if trial.number in front else "no",
            "cell": trial.configuration.items[0].cell.cell_id[:ID_LENGTH],
        }
        for trial in trials
    ]
    on_test = [
        {
            "method": trial.label,
            "trial": trial.number,
            "x": _value(second, values[second.name].mean),
            "y": _value(first, values[first.name].mean),
            "setting": configuration_text(trial),
            "cell": results.test_rows(trial)[0].cell_id[:ID_LENGTH],
        }
        for trial in results.front
        if (values := results.test_values(trial))
    ]
    names = [str(point["method"]) for point in points]
    x, y = quantity("x", _title(second)), quantity("y", _title(first))
    colour = data.methods.colours(names)
    details = tooltip(
        method="method", trial="trial", setting="settings", x=_title(second), y=_title(first), cell="cell"
    )
    line = [point for point in points if point["front"] == "yes"]
    steps: Spec = {
        "data": dataset(line),
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5, "tooltip": None},
        "encoding": {"x": x, "y": y, "order": {"field": "x"}, "color": {"value": "var(--mark)"}},
    }
    spec: Spec = {
        "layer": [
            *([steps] if line else []),
            {
                "data": dataset(points),
                "mark": {"type": "point", "filled": True, "cursor": "pointer"},
                "encoding": {
                    "x": x, "y": y, "color": colour, "shape": data.methods.shapes(names), "tooltip": details,
                    "size": {
                        "field": "front", "type": "ordinal", "scale": {"domain": ["no", "yes"], "range": [35, 90]},
                        "legend": None,
                    },
                    "opacity": faded_unless_shown(0.85),
                },
            },
        ]
    }  # fmt: skip
    if on_test:
        rings = {"type": "point", "filled": False, "size": 130, "strokeWidth": 1.5, "cursor": "pointer"}
        encoding = {"x": x, "y": y, "color": colour, "tooltip": details}
        spec["layer"].append({"data": dataset(on_test), "mark": rings, "encoding": encoding})
    caption = (
        "Complete trials, on select images; large: the front, by which trials are chosen. "
        + ("Hollow: the chosen ones on test. " if on_test else "")
        + (
            ""
            if len(trials) == len(results.trials.complete)
            else f"{len(trials)} of {len(results.trials.complete)} trials."
        )
    )
    legend = data.methods.legend(names)
    return Chart(f"front-{number}", f"{results.sweep.name}: front", caption.strip(), spec, 320, legend)


def _history(number: int, results: SweepResults) -> Chart:
    steps = [
        {"n": n, "volume": round(volume, 5), "trial": trial.number, "method": trial.label}
        for n, (trial, _, volume) in enumerate(results.over_time, start=1)
    ]
    spec: Spec = {
        "data": dataset(spread(steps, MAX_TRIALS)),
        "mark": {
            "type": "line",
            "interpolate": "step-after",
            "point": {"size": 22, "color": "var(--mark)"},
            "color": "var(--mark)",
        },
        "encoding": {
            "x": quantity("n", "complete trials", **whole_numbers(range(1, len(steps) + 1))),
            "y": quantity("volume", "hypervolume"),
            "tooltip": tooltip(n="complete trials", volume="hypervolume", trial="trial", method="method"),
        },
    }
    corner = ", ".join(
        f"{goal.name.replace('_', ' ')} {goal.cost(cost):.4g}"
        for goal, cost in zip(results.sweep.goals, results.reference, strict=True)
    )
    default = f"; the default settings alone reach {results.volume(results.defaults):.4f}" if results.defaults else ""
    caption = f"Hypervolume of all trials so far, up to the corner at {corner}{default}."
    return Chart(f"history-{number}", f"{results.sweep.name}: history", caption, spec, 320)


def _importances(data: ReportData, number: int, results: SweepResults) -> Iterator[Chart]:
    bars: list[dict[str, Any]] = [
        {
            "method": label,
            "setting": f"{label} · {name}",
            "objective": goal.replace("_", " "),
            "share": round(100 * share, 1),
        }
        for label, goals in results.importances().items()
        for goal, shares in goals.items()
        for name, share in shares.items()
    ]
    if not bars:
        return
    names = [bar["method"] for bar in bars]
    settings = list(dict.fromkeys(bar["setting"] for bar in bars))
    goals = list(dict.fromkeys(bar["objective"] for bar in bars))
    spec: Spec = {
        "data": dataset(bars),
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {
            "y": {
                "field": "setting", "type": "nominal", "sort": settings, "title": None,
                "axis": {"labelLimit": 220, "grid": True},
            },
            "x": quantity("share", "share of the variance, %", scale={"domain": [0, 100]}),
            "color": {**data.methods.colours(names), "legend": None},
            "shape": {
                "field": "objective", "sort": goals, "title": None, "legend": {"columns": _ONE_COLUMN},
                "scale": {"domain": goals, "range": [_SHAPES[at % len(_SHAPES)] for at in range(len(goals))]},
            },
            "tooltip": tooltip(setting="setting", objective="objective", share="share of the variance, %"),
        },
    }  # fmt: skip
    caption = (
        "How much of each objective's variance a setting explains over all trials (fANOVA); few trials say little."
    )
    yield Chart(f"importances-{number}", f"{results.sweep.name}: what matters", caption, spec, 18 * len(settings) + 30)


def _parallel(name: str, label: str, trials: Sequence[Trial], goals: Sequence[Objective]) -> Chart:
    lines = list(_parallel_points(spread(trials, _MAX_LINES), goals))
    axes = list(dict.fromkeys(point["axis"] for point in lines))
    spec: Spec = {
        "data": dataset(lines),
        "mark": {"type": "line", "strokeWidth": 1.4, "opacity": 0.75, "point": {"size": 20, "opacity": 0.9}},
        "encoding": {
            "x": {
                "field": "axis", "type": "nominal", "sort": axes, "title": None,
                "axis": {"labelAngle": -20, "grid": True, "labelLimit": 140},
            },
            "y": {
                "field": "place", "type": "quantitative", "title": "lowest to highest value",
                "axis": {"labels": False, "ticks": False},
            },
            "detail": {"field": "trial"},
            "order": {"field": "at"},
            "color": {
                "field": "cost", "type": "quantitative", "title": _title(goals[0]),
                "scale": {"range": _GOOD_TO_BAD}, "legend": {"gradientThickness": 8, "gradientLength": 140},
            },
            "tooltip": tooltip(trial="trial", axis="setting", value="value", cost=_title(goals[0]), cell="cell"),
        },
    }  # fmt: skip
    caption = f"One line per complete trial of {label}; each axis from its lowest value (below) to its highest."
    return Chart(name, f"{label}: settings and objectives", caption, spec, 280)


def _parallel_points(trials: Sequence[Trial], goals: Sequence[Objective]) -> Iterator[dict[str, Any]]:
    columns: dict[str, list[Any]] = {}
    for setting in dict.fromkeys(key for trial in trials for key in trial.configuration.values):
        columns[setting] = [trial.configuration.values.get(setting) for trial in trials]
    for goal in goals:
        columns[_title(goal)] = [_value(goal, trial.values[goal.name].mean) for trial in trials]
    places = {name: _places(values) for name, values in columns.items()}
    for index, trial in enumerate(trials):
        for at, (name, values) in enumerate(columns.items()):
            if values[index] is not None:
                yield {
                    "trial": trial.number,
                    "at": at,
                    "axis": name,
                    "value": f"{values[index]:.4g}" if isinstance(values[index], float) else str(values[index]),
                    "place": places[name][index],
                    "cost": _value(goals[0], trial.values[goals[0].name].mean),
                    "cell": trial.configuration.items[0].cell.cell_id[:ID_LENGTH],
                }


def _places(values: Sequence[Any]) -> list[float]:
    """Return each value's place between an axis's ends, 0 to 1; values that are no numbers are ordered as text."""
    given = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) for value in given):
        order = sorted({str(value) for value in given})
        return [order.index(str(value)) / max(1, len(order) - 1) if value is not None else 0.0 for value in values]
    low, high = min(given), max(given)
    return [round((value - low) / (high - low), 4) if value is not None and high > low else 0.5 for value in values]


def _title(goal: Objective) -> str:
    unit = ""
    if column_facts(goal.name).get("unit") == "fraction":
        unit = ", points" if goal.name.endswith("loss") else ", %"
    return f"{goal.name.replace('_', ' ')}{unit}"


def _value(goal: Objective, mean: float) -> float:
    return round(100 * mean if column_facts(goal.name).get("unit") == "fraction" else mean, 3)
