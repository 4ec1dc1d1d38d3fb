from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from report_rows import CLASSES, METHODS, bowl_results, data_of, example_store, searched_row

from benchmarks.rows.row import FigureRecord
from harness.report.charts.budgets import budget_charts
from harness.report.charts.chart import Chart, whole_numbers
from harness.report.charts.matrices.confusions import composed_confusions, patched_confusions
from harness.report.charts.matrices.grid import named_axis
from harness.report.charts.matrices.modules import overlap_charts
from harness.report.charts.pareto import pareto_charts
from harness.report.charts.sweeps import sweep_charts
from harness.report.data import ReportData
from harness.report.page import make_page
from harness.report.theme import figure_spec, screen_spec
from harness.sweep.definition.file import Sweep


def values(chart: Chart, layer: int | None = None) -> list[dict[str, object]]:
    spec = chart.spec if layer is None else chart.spec["layer"][layer]
    found: list[dict[str, object]] = spec["data"]["values"]
    return found


def test_answers_are_summed_over_seeds_and_drawn_before_beside_after(tmp_path: Path) -> None:
    data = data_of(tmp_path, [searched_row("toy", 0.1, seed) for seed in range(3)])
    (chart,) = composed_confusions(data, 0, data.sections[0])
    cells = {(cell["model"], cell["x"], cell["y"]): (cell["images"], cell["share"]) for cell in values(chart, 1)}
    assert cells == {
        **{("base model", (y + d) % 3, y): (15, 50.0) for y in range(3) for d in (0, 1)},
        **{("composed", 4 + y, y): (12, 40.0) for y in range(3)},
        **{("composed", 4 + (y + 1) % 3, y): (18, 60.0) for y in range(3)},
    }
    assert values(chart, 1)[0] == {
        "model": "composed", "class": CLASSES[0], "answer": CLASSES[1], "images": 18, "share": 60.0, "right": "no",
        "x": 5, "y": 0,
    }, "the most frequent mistake comes first"  # fmt: skip


def test_large_matrices_are_drawn_without_their_smallest_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.charts.matrices.confusions.MAX_CELLS", 8)
    data = data_of(tmp_path, [searched_row("toy", 0.1, 0)])
    (chart,) = composed_confusions(data, 0, data.sections[0])
    assert [cell["images"] for cell in values(chart, 1) if cell["model"] == "composed"] == [6, 6, 6]
    assert [cell["images"] for cell in values(chart, 1) if cell["model"] == "base model"] == [5, 5, 5, 5]
    assert "At most 4 numbers of each matrix are drawn" in chart.caption


def test_a_patch_is_chosen_by_its_class(tmp_path: Path) -> None:
    store = example_store(tmp_path)
    data = ReportData(store, store.read())
    number, section = next(
        (number, section) for number, section in enumerate(data.sections) if section.scenario == "patching"
    )
    toy, *_ = patched_confusions(data, number, section)
    assert toy.choice is not None
    assert list(toy.choice.options) == [*CLASSES]
    assert {cell["target"] for cell in values(toy, 1)} == {*CLASSES}
    for spec in (screen_spec(toy), figure_spec(toy)):
        assert spec["params"] == [{"name": "choice", "value": CLASSES[0]}]


def test_names_of_classes_are_texts_in_the_expressions_of_axes() -> None:
    assert named_axis(['"] + evil[', "dog\u202e"])["axis"]["labelExpr"].startswith(
        r'["\"] + evil[", "dog\\u202e"][floor('
    )


def test_counts_have_no_ticks_between_whole_numbers() -> None:
    ticks = {high: whole_numbers([1, high])["axis"]["values"] for high in (1, 3, 25, 200)}
    assert (ticks[1], ticks[3]) == ([1], [1, 2, 3])
    assert ticks[25] == [5, 10, 15, 20, 25]
    assert ticks[200] == [20, 40, 60, 80, 100, 120, 140, 160, 180, 200]


def test_a_dendrogram_begins_at_its_matrix_and_rises_with_the_distance(tmp_path: Path) -> None:
    data = data_of(tmp_path, [searched_row("toy", 0.1, 0)])
    (chart,) = overlap_charts(data, 0, data.sections[0])
    tree = values(chart, 1)
    assert len(tree) == 8, "three modules, two merges of four points"
    low, high = min(point["x"] for point in tree), max(point["x"] for point in tree)
    assert (low, 3 < low < high <= 3 * 1.3) == (3.06, True)


def test_the_shades_of_an_overlap_tell_its_pairs_apart(tmp_path: Path) -> None:
    data = data_of(tmp_path, [searched_row("toy", 0.1, 0)])
    (chart,) = overlap_charts(data, 0, data.sections[0])
    assert chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == pytest.approx([1 - 8 / 16, 1 - 2 / 11])


def test_the_page_has_buttons_in_place_of_legends_and_figures_have_legends(tmp_path: Path) -> None:
    data = data_of(tmp_path, [searched_row(label, loss, 0) for label, loss in METHODS.items()])
    chart = next(pareto_charts(data, 0, data.sections[0]))
    assert chart.legend is not None
    assert [entry.name for entry in chart.legend.entries] == data.methods.names
    legends = {
        draw: [
            channel["legend"]
            for layer in draw(chart)["layer"]
            for channel in layer["encoding"].values()
            if isinstance(channel, dict) and channel.get("field") == "method" and "legend" in channel
        ]
        for draw in (screen_spec, figure_spec)
    }
    assert not any(legends[screen_spec])
    assert any(legends[figure_spec])


def test_loss_at_equal_retention_begins_where_every_split_has_got_so_far(tmp_path: Path) -> None:
    rows = []
    for seed, fewest in enumerate((0.4, 0.6)):
        states = ((1, 1.0, 0.92), (2, fewest, 0.82))
        figures = [
            FigureRecord(step=step, name=name, value=value)
            for step, kept, accuracy in states
            for name, value in (("kernel_retention", kept), ("accuracy", accuracy))
        ]
        result = {"kernel_retention": fewest, "select_accuracy_loss": 0.1, "figures": figures}
        rows.append(searched_row("toy", 0.1, seed).model_copy(update=result))
    data = data_of(tmp_path, rows)
    chart = next(budget_charts(data, 0, data.sections[0]))
    losses = {point["x"]: point["y"] for point in values(chart, 0)}
    assert min(losses) == 60
    # One split is on its line from (40 %, 10 points) to (100 %, 0), the other on that from (60 %, 10 points).
    assert losses[60] == pytest.approx((10 * 40 / 60 + 10) / 2, abs=1e-3)
    assert losses[100] == 0


def test_the_hypervolume_over_time_is_a_mean_over_all_timed_splits(tmp_path: Path) -> None:
    half = {"kernel_retention": 0.5, "select_accuracy_loss": 0.0, "split_seconds": 10.0}
    none = {"kernel_retention": 1.0, "select_accuracy_loss": 0.0, "split_seconds": 10.0}
    changes = (half, none, {**half, "gpu_share": 0.5})
    rows = [
        searched_row("toy", 0.0, seed).model_copy(update={**new, "figures": []}) for seed, new in enumerate(changes)
    ]
    data = data_of(tmp_path, rows)
    (chart,) = (chart for chart in budget_charts(data, 0, data.sections[0]) if chart.name.startswith("anytime"))
    assert values(chart, 0)[-1]["y"] == 25, "a split that gains nothing counts; one that shared its GPU has no time"


def test_a_sweep_has_its_front_history_importances_and_settings(
    make_bowls: Callable[..., Sweep], tmp_path: Path
) -> None:
    results = bowl_results(make_bowls(trials=6))
    front, history, importances, parallel = sweep_charts(data_of(tmp_path, results.rows), 0, results)
    assert len(values(front, 1)) == 6
    assert {point["trial"] for point in values(front, 0)} == {trial.number for trial in results.front}
    assert [step["volume"] for step in values(history)] == [round(volume, 5) for _, _, volume in results.over_time]
    assert {bar["setting"] for bar in values(importances)} == {"bowl · x", "bowl · y"}
    lowest = next(point for point in values(parallel) if point["axis"] == "x" and point["value"] == "0.1")
    assert (lowest["place"], lowest["trial"]) == (0.0, 0)


def test_a_hundred_thousand_cells_make_less_than_fifteen_megabytes(tmp_path: Path) -> None:
    many = [searched_row(label, loss, seed) for label, loss in METHODS.items() for seed in range(40)]
    sizes = {}
    for n in (60, 120):
        data = data_of(tmp_path / str(n), many[:n])
        sizes[n] = len(make_page(data, []))
    per_cell = (sizes[120] - sizes[60]) / 60
    assert sizes[120] + 100_000 * per_cell < 10_000_000


def test_a_label_is_the_same_method_everywhere(tmp_path: Path) -> None:
    data_store = example_store(tmp_path)
    data = ReportData(data_store, data_store.read())
    labels = {data.method_named(entry.label) for section in data.sections for entry in section.entries}
    assert labels == set(METHODS)
