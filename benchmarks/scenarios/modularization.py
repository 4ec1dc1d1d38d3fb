"""What splitting costs in accuracy, and what it saves in kernels and operations.

Scenario ``modularization`` scores on test; scenario ``selection`` measures all but that, for choices among settings.
"""

from __future__ import annotations

from itertools import count
from typing import Any, ClassVar

import torch

from benchmarks.boards import SELECTION, Board
from benchmarks.cells import Cell
from benchmarks.data.datasets import check_dataset
from benchmarks.models import check_model
from benchmarks.models.inference import evaluate_accuracy
from benchmarks.pipeline.finished_split import circumstances, split_once
from benchmarks.pipeline.preparation import Prepared, Stages, prepare
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import LayerRecord, Metrics, ModuleRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import Progress, ProgressCallback, SplitResult, make_splitter
from splitters.modules.module import extract_modules
from splitters.networks.cost import Cost, base_cost, network_cost
from splitters.networks.extraction import extract_network
from splitters.networks.inference import ClassReport, Tick, accuracy, class_report, composed_answers, module_logits
from splitters.networks.masks import KernelMasks


@SCENARIOS.register("modularization")
class Modularization(Scenario):
    """Splits a base model, composes all its modules again, and compares the two on the test set."""

    selection: ClassVar[str | None] = "selection"

    def check(self, cell: Cell) -> None:
        """Checks the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        check_dataset(cell.dataset.name)

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Runs the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        prepared = prepare(cell, workspace, stages)
        roles = prepared.roles
        example = roles.select.normalisation(roles.select.images[:2]).to(workspace.device)
        graph = ChannelGraph.trace(prepared.base.model, example)
        split = split_once(cell, prepared, graph, workspace)
        stages.add("split", split)
        with stages.measured("evaluate"):
            select = prepared.split_roles.select.to(workspace.device)
            tick = _ticks(workspace.progress)
            on_select = _answers(graph, split.result, select, tick)
            measured = {
                **_select_accuracies(prepared, select, on_select, tick),
                **self._test_accuracies(prepared, graph, split.result, tick),
                **_kernels(split.result.masks),
                **_costs_and_modules(graph, split.result, select, on_select),
            }
        return Metrics(**{**circumstances(prepared, split), **measured}, stages=stages.records)

    def _test_accuracies(
        self, prepared: Prepared, graph: ChannelGraph, result: SplitResult, tick: Tick
    ) -> dict[str, float]:
        """Reads the test set, once."""
        test = prepared.roles.test.to(next(prepared.base.model.parameters()).device)
        base = evaluate_accuracy(prepared.base.model, test, tick=tick)
        composed = accuracy(_answers(graph, result, test, tick), test.labels)
        return {"base_accuracy": base, "composed_accuracy": composed, "accuracy_loss": base - composed}


@SCENARIOS.register("selection")
class Selection(Modularization):
    """Measures what ``modularization`` does, but for the scores on test, which stays unread.

    Sweeps choose by it: a setting that is chosen on test images is no honest result on them.
    """

    board: ClassVar[Board] = SELECTION
    selection = None

    def _test_accuracies(
        self, prepared: Prepared, graph: ChannelGraph, result: SplitResult, tick: Tick
    ) -> dict[str, float]:
        return {}


def _select_accuracies(prepared: Prepared, select: ImageSet, answers: torch.Tensor, tick: Tick) -> dict[str, float]:
    base, composed = evaluate_accuracy(prepared.base.model, select, tick=tick), accuracy(answers, select.labels)
    return {
        "select_base_accuracy": base,
        "select_composed_accuracy": composed,
        "select_accuracy_loss": base - composed,
    }


def _answers(graph: ChannelGraph, result: SplitResult, images: ImageSet, tick: Tick) -> torch.Tensor:
    with torch.no_grad():
        return composed_answers(result.scores(module_logits(graph, result.masks, images, tick=tick)))


def _ticks(progress: ProgressCallback) -> Tick:
    """Returns a tick that counts batches on, so that a cell can be stopped between any two of them."""
    batches = count(1)
    return lambda: progress(Progress("evaluate", next(batches)))


def _kernels(masks: KernelMasks) -> dict[str, Any]:
    union = masks.union.kernels_per_layer[0].tolist()
    kept = masks.kernels_per_layer.T.tolist()
    return {
        "kernels_total": masks.layout.n_kernels,
        "kernel_retention": masks.retention,
        "kernel_retention_union": masks.union_retention,
        "jaccard_distance": masks.mean_jaccard_distance,
        "layers": [
            LayerRecord(name=layer.name, kernels=layer.kernels, kept=kept[index], union_kept=union[index])
            for index, layer in enumerate(masks.layout.layers)
        ],
    }


def _costs_and_modules(
    graph: ChannelGraph, result: SplitResult, select: ImageSet, on_select: torch.Tensor
) -> dict[str, Any]:
    modules = extract_modules(graph, result, select.class_names, select.normalisation)
    costs = [module.cost() for module in modules]
    base = base_cost(graph)
    union = network_cost(extract_network(graph, result.masks.union.bits[0]), graph.input_shape)
    report = class_report(on_select, select.labels, select.n_classes)
    return {
        **_ratios("flops_retention", [cost.flops for cost in costs], base.flops),
        **_ratios("param_retention", [cost.parameters for cost in costs], base.parameters),
        "param_retention_union": union.parameters / base.parameters,
        "modules": [
            _module_record(index, name, result.masks, costs[index], report)
            for index, name in enumerate(select.class_names)
        ],
    }


def _ratios(name: str, parts: list[int], base: int) -> dict[str, float]:
    return {name: sum(parts) / len(parts) / base, f"{name}_sum": sum(parts) / base}


def _module_record(index: int, name: str, masks: KernelMasks, cost: Cost, report: ClassReport) -> ModuleRecord:
    return ModuleRecord(
        class_index=index,
        class_name=name,
        kernels=int(masks.kernels[index]),
        flops=cost.flops,
        parameters=cost.parameters,
        select_precision=float(report.precision[index]),
        select_recall=float(report.recall[index]),
        select_f1=float(report.f1[index]),
    )
