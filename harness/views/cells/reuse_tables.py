"""Tables of a row's patches and composed models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.rows.row import ComposedCostRecord, CompositionRecord, NewTaskRecord, PatchRecord, Row, SubTaskRecord

_COSTS = ("FLOPs, sum", "latency")


def reuse_tables(row: Row) -> Iterator[RenderableType]:
    """Yield a title and a table for each kind of patch or composed model in a row."""
    if row.patches:
        yield Text("\npatches (on test, %)", style="bold")
        yield _patches_table(row.patches)
    if row.compositions:
        yield Text("\ncompositions (on test, %)", style="bold")
        yield _compositions_table(row.compositions)
        for record in row.compositions:
            yield Text(f"{record.networks}, modules of: {', '.join(record.chosen)}")
    if row.new_tasks:
        yield Text("\nnew tasks (on test, %)", style="bold")
        yield _new_tasks_table(row.new_tasks)
    if row.sub_tasks:
        yield Text("\nsub-tasks (on test, %)", style="bold")
        yield _sub_tasks_table(row.sub_tasks)


def reuse_facts(row: Row) -> Iterator[str]:
    """Yield short summaries of a row's patches and composed models."""
    if row.patches:
        gain = fmean(patch.tc_f1_gain for patch in row.patches)
        yield f"{len(row.patches)} patches, F1 {100 * gain:+.2f} points on average"
    if row.compositions:
        gains = ", ".join(f"{100 * record.gain_over_best_base:+.2f}" for record in row.compositions)
        yield f"against the best base model {gains} points"
    if row.new_tasks:
        gain = fmean(record.gain_over_scratch for record in row.new_tasks)
        yield f"{len(row.new_tasks)} new tasks, against training from scratch {100 * gain:+.2f} points on average"
    if row.sub_tasks:
        loss = fmean(record.accuracy_loss for record in row.sub_tasks)
        yield f"{len(row.sub_tasks)} sub-tasks, loss {100 * loss:.2f} points on average"


def _patches_table(patches: Iterable[PatchRecord]) -> Table:
    table = Table("class", "rule", "F1", "after", "others", "after", "all", "after", box=box.SIMPLE_HEAD)
    for patch in patches:
        figures = (
            (patch.tc_f1_before, patch.tc_f1_after),
            (patch.non_tc_accuracy_before, patch.non_tc_accuracy_after),
            (patch.accuracy_before, patch.accuracy_after),
        )
        table.add_row(patch.target_class, patch.fusion, *_percents(figure for pair in figures for figure in pair))
    return table


def _compositions_table(records: Iterable[CompositionRecord]) -> Table:
    table = Table("networks", "composed", "best base", "mean", "ensemble", "one base's", *_COSTS, box=box.SIMPLE_HEAD)
    for record in records:
        accuracies = (
            record.composed_accuracy,
            record.best_base_accuracy,
            record.mean_base_accuracy,
            record.ensemble_accuracy,
            record.best_module_set_accuracy,
        )
        table.add_row(record.networks, *_percents(accuracies), *_costs(record))
    return table


def _new_tasks_table(records: Iterable[NewTaskRecord]) -> Table:
    table = Table("classes", "images", "composed", "scratch", "last layer", *_COSTS, box=box.SIMPLE_HEAD)
    for record in records:
        accuracies = (record.composed_accuracy, record.scratch_accuracy, record.last_layer_accuracy)
        table.add_row(", ".join(record.classes), str(record.scratch_images), *_percents(accuracies), *_costs(record))
    return table


def _sub_tasks_table(records: Iterable[SubTaskRecord]) -> Table:
    table = Table("classes", "base", "composed", *_COSTS, box=box.SIMPLE_HEAD)
    for record in records:
        accuracies = (record.restricted_accuracy, record.composed_accuracy)
        table.add_row(", ".join(record.classes), *_percents(accuracies), *_costs(record))
    return table


def _percents(figures: Iterable[float]) -> Iterator[str]:
    return (f"{100 * figure:.1f}" for figure in figures)


def _costs(record: ComposedCostRecord) -> tuple[str, str]:
    return f"{100 * record.flops_retention_sum:.1f}", f"{1000 * record.latency_seconds:.1f} ms"
