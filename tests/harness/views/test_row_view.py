from __future__ import annotations

from rendering import plain
from toys import patch_record, patching_row, toy_item, toy_row

from benchmarks.rows.row import (
    CompositionRecord,
    FigureRecord,
    ModuleRecord,
    NewTaskRecord,
    SensitivityRecord,
    State,
    SubTaskRecord,
)
from harness.cli.runs.displays.cell_display import finished_line
from harness.views.cells.row import row_view

COST = {
    "flops_sum": 150, "parameters_sum": 150, "parameters_union": 80, "latency_seconds": 0.003,
    "base_flops": 100, "base_parameters": 100, "base_latency_seconds": 0.001, "flops_retention_sum": 1.5,
    "param_retention_sum": 1.5, "param_retention_union": 0.8, "latency_ratio": 3.0,
}  # fmt: skip


def test_a_row_is_shown_whole() -> None:
    module = ModuleRecord(
        class_index=0, class_name="zero", kernels=1234, flops=5, parameters=6,
        select_precision=0.5, select_recall=0.25, select_f1=0.333,
    )  # fmt: skip
    good = toy_row().model_copy(update={"modules": [module]})
    text = plain(row_view([toy_row(state=State.TIMEOUT, age=5), good]))
    for part in ("2 attempts: timeout, ok", good.cell_id, "accuracy_loss", "zero", "1,234", "0.333"):
        assert part in text


def test_the_steps_of_a_search_are_shown_evenly_spread_with_the_last_one() -> None:
    figures = [
        FigureRecord(step=step, name=name, value=value)
        for step in range(1, 101)
        for name, value in (("accuracy", step / 100), ("fitness", 0.5))
    ]
    figures.append(FigureRecord(step=None, name="candidates_run", value=1234.0))
    text = plain(row_view([toy_row().model_copy(update={"figures": figures})]))
    steps = [
        int(line.split()[0]) for line in text.splitlines() if line.endswith("0.5 ") or line.rstrip().endswith(" 0.5")
    ]
    assert steps == list(range(5, 101, 5))
    assert "candidates run 1234" in text


def test_a_row_of_patches_shows_each_of_them() -> None:
    text = plain(row_view([patching_row([patch_record("seven", "platt")])]))
    line = next(line for line in text.splitlines() if "seven" in line)
    assert line.split() == ["seven", "platt", "50.0", "75.0", "90.0", "95.0", "80.0", "90.0"]


def test_a_row_of_composed_models_shows_each_of_them_with_its_costs() -> None:
    composition = CompositionRecord(
        reach="inter", networks="simcnn+rescnn", n_base_models=4, chosen=["simcnn 1", "rescnn 0"],
        chosen_select_f1=[0.9, 0.8], composed_accuracy=0.7, select_composed_accuracy=0.7, best_base="simcnn 1",
        best_base_accuracy=0.6, mean_base_accuracy=0.5, ensemble_accuracy=0.75, best_module_set="rescnn 0",
        best_module_set_accuracy=0.55, gain_over_best_base=0.1, gain_over_mean_base=0.2, gain_over_ensemble=-0.05,
        gain_over_module_set=0.15, **COST,
    )  # fmt: skip
    new_task = NewTaskRecord(
        classes=["cat", "bag"], n_classes=2, images_per_class=20, composed_accuracy=0.7, select_composed_accuracy=0.7,
        scratch_accuracy=0.8, select_scratch_accuracy=0.8, last_layer_accuracy=0.9, select_last_layer_accuracy=0.9,
        gain_over_scratch=-0.1, gain_over_last_layer=-0.2, composed_images=0, scratch_images=40, last_layer_images=40,
        composed_seconds=0.1, scratch_seconds=9.0, last_layer_seconds=1.0, **COST,
    )  # fmt: skip
    sub_task = SubTaskRecord(
        classes=["cat", "dog"], n_classes=2, composed_accuracy=0.7, select_composed_accuracy=0.7,
        restricted_accuracy=0.75, select_restricted_accuracy=0.8, accuracy_loss=0.05, **COST,
    )  # fmt: skip
    lists = {"compositions": [composition], "new_tasks": [new_task], "sub_tasks": [sub_task]}
    row = toy_row(loss=None).model_copy(update=lists)
    text = plain(row_view([row]), 140)
    lines = [line.split() for line in text.splitlines()]
    costs = ["150.0", "3.0", "ms"]
    assert ["simcnn+rescnn", "70.0", "60.0", "50.0", "75.0", "55.0", *costs] in lines
    assert ["cat,", "bag", "40", "70.0", "80.0", "90.0", *costs] in lines
    assert ["cat,", "dog", "75.0", "70.0", *costs] in lines
    assert "simcnn+rescnn, modules of: simcnn 1, rescnn 0" in text
    line = finished_line(toy_item(), row).plain
    for part in ("best base model +10.00 points", "from scratch -10.00 points", "1 sub-tasks, loss 5.00 points"):
        assert part in line


def test_a_row_draws_its_sensitivity_curves() -> None:
    curves = [
        SensitivityRecord(
            layer="first", kept_shares=[0.2, 0.6], select_accuracy=[0.1, 0.96], sensitive=True, start_shares=[0.7, 0.8]
        ),
        SensitivityRecord(layer="given", kept_shares=[], select_accuracy=[], sensitive=False, start_shares=[0.4]),
    ]
    text = plain(row_view([toy_row().model_copy(update={"sensitivity": curves})]))
    lines = [line.split() for line in text.splitlines()]
    assert ["layer", "sensitive", "starts", "with", "curve", "0.2", "0.6"] in lines
    assert ["first", "yes", "0.7", "0.8", "▁█", "10.0", "96.0"] in lines
    assert ["given", "no", "0.4", "–", "–"] in lines
