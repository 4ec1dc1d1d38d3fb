"""What splitting costs in accuracy, and what it saves in kernels and operations.

Scenario ``modularization`` scores on test; scenario ``selection`` measures everything else, to choose settings by.
"""

from __future__ import annotations

from itertools import count
from typing import Any, ClassVar

from torch import Tensor

from benchmarks.boards import SELECTION, Board
from benchmarks.models.inference import evaluate_accuracy, predict_logits
from benchmarks.pipeline.confusion import confusion_record, fits_in_row
from benchmarks.pipeline.split_model import SplitModel
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import LayerRecord, ModuleRecord
from benchmarks.scenarios.scenario import SCENARIOS
from benchmarks.scenarios.split_scenario import SplitScenario
from splitters.data import ImageSet
from splitters.methods.protocol import Progress, ProgressCallback
from splitters.networks.cost import Cost, count_parameters
from splitters.networks.extraction import extract_network
from splitters.networks.inference import ClassReport, Tick, accuracy, class_report
from splitters.networks.masks import KernelMasks


@SCENARIOS.register("modularization")
class Modularization(SplitScenario):
    """Splits a base model, composes all its modules, and compares the two on the test set."""

    selection: ClassVar[str | None] = "selection"

    def evaluate(self, model: SplitModel, workspace: Workspace) -> dict[str, Any]:
        """Measure accuracies, kernels and costs; see ``SplitScenario.evaluate``."""
        tick = _ticks(workspace.progress)
        select = model.prepared.split_roles.select
        answers = model.answers(select, tick=tick)
        return {
            **_select_accuracies(model, select, answers, tick),
            **self._test_scores(model, tick),
            **_kernels(model.split.result.masks),
            **_costs_and_modules(model, class_report(answers, select.labels, select.n_classes)),
        }

    def _test_scores(self, model: SplitModel, tick: Tick) -> dict[str, Any]:
        """Read the test set, once."""
        test = model.prepared.roles.test
        labels = test.labels.cpu()
        base = predict_logits(model.prepared.base.model, test, tick=tick).argmax(dim=1).cpu()
        composed = model.answers(test, tick=tick)
        base_accuracy, composed_accuracy = accuracy(base, labels), accuracy(composed, labels)
        return {
            "base_accuracy": base_accuracy,
            "composed_accuracy": composed_accuracy,
            "accuracy_loss": base_accuracy - composed_accuracy,
            "confusions": [confusion_record(base, composed, test)] if fits_in_row(test.n_classes) else [],
        }


@SCENARIOS.register("selection")
class Selection(Modularization):
    """Measures what ``modularization`` does, except the scores on test, which stays unread.

    Sweeps choose by it: a setting that was chosen on test images gives no honest result on them.
    """

    board: ClassVar[Board] = SELECTION
    selection = None

    def _test_scores(self, model: SplitModel, tick: Tick) -> dict[str, Any]:
        return {}


def _select_accuracies(model: SplitModel, select: ImageSet, answers: Tensor, tick: Tick) -> dict[str, float]:
    base = evaluate_accuracy(model.prepared.base.model, select, tick=tick)
    composed = accuracy(answers, select.labels.cpu())
    return {
        "select_base_accuracy": base,
        "select_composed_accuracy": composed,
        "select_accuracy_loss": base - composed,
    }


def _ticks(progress: ProgressCallback) -> Tick:
    """Return a tick that reports the number of batches, so that a cell can be stopped between any two of them."""
    batches = count(1)
    return lambda: progress(Progress("evaluate", next(batches)))


def _kernels(masks: KernelMasks) -> dict[str, Any]:
    union = masks.union.kernels_per_layer[0].tolist()
    kept = masks.kernels_per_layer.T.tolist()
    return {
        "jaccard_distance": masks.mean_jaccard_distance,
        "shared_kernels": [shared[index + 1 :] for index, shared in enumerate(masks.shared_kernels.tolist())],
        "layers": [
            LayerRecord(name=layer.name, kernels=layer.kernels, kept=kept[index], union_kept=union[index])
            for index, layer in enumerate(masks.layout.layers)
        ],
    }


def _costs_and_modules(model: SplitModel, report: ClassReport) -> dict[str, Any]:
    masks = model.split.result.masks
    costs = [model.module_cost(index) for index in range(len(model.modules))]
    base = model.base_cost
    union = count_parameters(extract_network(model.graph, masks.union.bits[0]))
    return {
        **_ratios("flops_retention", [cost.flops for cost in costs], base.flops),
        **_ratios("param_retention", [cost.parameters for cost in costs], base.parameters),
        "param_retention_union": union / base.parameters,
        "modules": [
            _module_record(index, module.info.class_name, masks, costs[index], report)
            for index, module in enumerate(model.modules)
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
