"""From a training, or from weights that somebody has, to modules that know what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.cells import Cell, ModelSpec
from benchmarks.pipeline.finished_split import cached_split
from benchmarks.pipeline.given_model import settled_normalisation
from benchmarks.pipeline.preparation import Prepared, Stages, prepare, prepare_images
from benchmarks.pipeline.workspace import Workspace
from benchmarks.single_model.image_origin import ImageOrigin, origin_fields
from benchmarks.single_model.weights_file import TrainedWeights
from benchmarks.threads import torch_threads
from benchmarks.training.base_model import TrainedModel, weights_hash
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.module import Module, extract_modules
from splitters.networks.execution.compilation import compiling
from splitters.networks.execution.precision import computing_in
from splitters.networks.inference import class_report, composed_answers, module_logits


def train_model(cell: Cell, workspace: Workspace) -> Prepared:
    """Return a cell's images and its trained base model, trained now or found in the cache.

    Raises:
        DataError: If the data is absent or damaged.
        TrainingError: If the training fails.
    """
    with torch_threads(cell.threads), computing_in(cell.precision, workspace.device), compiling(cell.compile):
        return prepare(cell, workspace, Stages(workspace.device))


def split_model(
    cell: Cell, workspace: Workspace, *, weights: TrainedWeights | None = None, classes: Sequence[str] = ()
) -> tuple[list[Module], tuple[str, ...]]:
    """Return the modules of a cell's base model, each with its F1 on select among its metrics, and what to know.

    Args:
        cell: Names the splitter, the data set and, without weights, the base model.
        workspace: Where to work.
        weights: A trained network to split instead.
        classes: The names of the classes whose modules are wanted; all without.

    Raises:
        ConfigurationError: If a class is unknown, or the weights were made for other classes or images.
        SplitbenchError: If the splitter fails.
    """
    if weights is not None:
        cell = cell.model_copy(update={"model": weights.header.model})
    with torch_threads(cell.threads), computing_in(cell.precision, workspace.device), compiling(cell.compile):
        prepared = train_model(cell, workspace) if weights is None else _given(cell, workspace, weights)
        select = prepared.split_roles.select.to(workspace.device)
        _check_classes(classes, select.class_names)
        graph = ChannelGraph.trace(prepared.base.model, select.normalisation(select.images[:2]))
        result = cached_split(cell, prepared, graph, workspace).result
        with torch.no_grad():
            answers = composed_answers(result.scores(module_logits(graph, result.masks, select)))
        report = class_report(answers, select.labels, select.n_classes)
        modules = extract_modules(
            graph,
            result,
            select.class_names,
            select.normalisation,
            base_model=cell.model.name,
            base_model_hash=prepared.base.weights_hash,
            splitter=cell.splitter.name,
            trained_on=_origins(cell, prepared, weights),
        )
        for index, module in enumerate(modules):
            measured = {"select_f1": float(report.f1[index]), "kernel_retention": _retention(module, graph)}
            module.info = module.info.model_copy(update={"metrics": measured})
    wanted = [module for module in modules if not classes or module.info.class_name in classes]
    return wanted, (*prepared.warnings, *result.warnings)


def with_settled_normalisation(cell: Cell, spec: ModelSpec, workspace: Workspace) -> Cell:
    """Return a cell whose given model says how images are normalised; see ``settled_normalisation``.

    Args:
        cell: The cell.
        spec: Its model, which may not say so.
        workspace: Where to work.
    """
    if spec.normalisation is None:
        spec = settled_normalisation(spec, prepare_images(cell, workspace).roles.select, workspace)
    return cell.model_copy(update={"model": cell.model.model_copy(update={"normalisation": spec.normalisation})})


def _given(cell: Cell, workspace: Workspace, weights: TrainedWeights) -> Prepared:
    """Return a trained network from a file in the place of a base model of the cell's own."""
    header = weights.header
    images = prepare_images(cell, workspace)
    if images.roles.train.class_names != header.class_names:
        raise ConfigurationError(
            f"the weights were made for the classes {', '.join(header.class_names)}, but {cell.dataset.name!r} has "
            f"{', '.join(images.roles.train.class_names)}."
        )
    base = TrainedModel(
        model=weights.model.to(workspace.device),
        weights_hash=weights_hash(weights.model),
        select_accuracy=header.select_accuracy,
        epochs=0,
        best_epoch=0,
        seconds=0.0,
        reused=True,
        peak_memory_bytes=None,
    )
    return Prepared(images.roles, images.split_roles, base, images.dataset_hash, images.flips)


def _origins(cell: Cell, prepared: Prepared, weights: TrainedWeights | None) -> tuple[dict[str, Any], ...]:
    """Return which images a module was made with: those of its base model, and those that the splitter saw."""
    own = ImageOrigin.of(cell, prepared.dataset_hash)
    if cell.model.is_given:
        return origin_fields(None), origin_fields(own.model_copy(update={"part": "split_train"}))
    if weights is None or weights.header.trained_on == own:
        return (origin_fields(own),)
    return origin_fields(weights.header.trained_on), origin_fields(own.model_copy(update={"part": "split_train"}))


def _check_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UnknownNameError("class", name, known, where="--classes")


def _retention(module: Module, graph: ChannelGraph) -> float:
    return sum(map(len, module.info.kept.values())) / graph.layout.n_kernels
