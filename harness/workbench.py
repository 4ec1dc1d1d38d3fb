"""What one does with a single model: train it, split it, patch it, score it; what the command line is thin over."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from benchmarks.cells import Cell, DatasetSpec, ModelSpec
from benchmarks.models import check_model
from benchmarks.origins import ImageOrigin, unseen
from benchmarks.preparation import Prepared, Stages, prepare, prepare_images
from benchmarks.scenarios.base import Workspace
from benchmarks.splitting import split_once
from benchmarks.training import TrainedModel, weights_hash
from benchmarks.weights import TrainedWeights, from_state_dict, load_weights
from harness.config import Filter, load_suite, make_suite
from harness.expand import expand
from harness.threads import torch_threads
from splitters.data import ImageSet
from splitters.errors import ConfigurationError, DataError, UnknownNameError
from splitters.files.safetensors_file import read_plain_tensors
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.module import Module, extract_modules
from splitters.networks.inference import accuracy, class_report, composed_answers, module_logits, network_logits
from splitters.reuse.patched import PatchedModel, patch
from splitters.reuse.reused_model import ReusedModel

_BATCH = 256


def single_cell(
    model: str,
    dataset: str,
    *,
    splitter: str | None = None,
    seed: int = 0,
    suite: str | None = None,
    changes: Sequence[str] = (),
) -> Cell:
    """Returns the one cell that a call on the command line means.

    Args:
        model: A base model's name.
        dataset: A data set's name.
        splitter: A splitter's name or label; None where it plays no part.
        seed: Seeds images, training and split.
        suite: A suite whose settings are taken, by name or path; without one, all settings have their defaults.
        changes: ``KEY=VALUE`` changes as of a suite, e.g. ``training.epochs=3``, ``models.simcnn.width=0.25``.

    Raises:
        ConfigurationError: If a name, a key or a value is unknown or not allowed.
    """
    if suite is not None:
        loaded = load_suite(suite, changes=[*changes, f"seeds=[{seed}]"])
        wanted = Filter(model=(model,), dataset=(dataset,), splitter=(splitter,) if splitter else ())
        return expand(loaded, only=wanted)[0].cell
    values = {
        "name": "single",
        "models": [model],
        "datasets": [dataset],
        "splitters": [splitter or "full"],
        "seeds": [seed],
        "threads": os.cpu_count() or 1,
    }
    return expand(make_suite(values, title="the call", changes=changes))[0].cell


def train_model(cell: Cell, workspace: Workspace) -> Prepared:
    """Returns a cell's images and its trained base model, trained now or found in the cache.

    Raises:
        DataError: If the data is absent or damaged.
        TrainingError: If the training fails.
    """
    with torch_threads(cell.threads):
        return prepare(cell, workspace, Stages(workspace.device))


def split_model(
    cell: Cell, workspace: Workspace, *, weights: TrainedWeights | None = None, classes: Sequence[str] = ()
) -> tuple[list[Module], tuple[str, ...]]:
    """Returns the modules of a cell's base model, each with its F1 on select among its metrics, and what to know.

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
    with torch_threads(cell.threads):
        prepared = train_model(cell, workspace) if weights is None else _given(cell, workspace, weights)
        select = prepared.split_roles.select.to(workspace.device)
        _check_classes(classes, select.class_names)
        graph = ChannelGraph.trace(prepared.base.model, select.normalisation(select.images[:2]))
        result = split_once(cell, prepared, graph, workspace).result
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
    return [module for module in modules if not classes or module.info.class_name in classes], result.warnings


@dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised.

    Args:
        name: The class.
        images: How many images it has.
        precision: Right answers among those that name it.
        recall: Right answers among its images.
        f1: Their harmonic mean.
    """

    name: str
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """How well a classifier does on the test set.

    Args:
        accuracy: The share of right answers.
        images: How many images of its classes there are.
        left_out: How many images of other classes there are.
        classes: One entry per class, in order.
    """

    accuracy: float
    images: int
    left_out: int
    classes: tuple[ClassScore, ...]

    def of(self, name: str) -> ClassScore:
        """Returns the entry of one class."""
        return next(score for score in self.classes if score.name == name)

    def accuracy_without(self, name: str) -> float:
        """Returns the share of right answers among the images of the other classes."""
        others = [score for score in self.classes if score.name != name]
        return sum(score.recall * score.images for score in others) / max(1, sum(score.images for score in others))


@dataclass(frozen=True)
class Patch:
    """A patched model, and what the patch changed on the test set.

    Args:
        model: The patched model.
        before: The weak model alone.
        after: The patched model.
        images: How many images the patch was calibrated on.
        unknown: Of which of the two, the weak network and the module, nobody can tell all images that they have seen.
    """

    model: PatchedModel
    before: Evaluation
    after: Evaluation
    images: int
    unknown: tuple[str, ...]


def patch_model(
    weak: TrainedWeights, module: Module, dataset: str, workspace: Workspace, *, target: str, rule: str
) -> Patch:
    """Patches a trained network with a module, calibrated on select, and scores both on test.

    Select images that one of the two was made with, as far as their files say it, take no part.

    Args:
        weak: The weak model.
        module: The module.
        dataset: The data set's name; images of classes that the weak model does not know take no part.
        workspace: Where to work.
        target: The name of the class to be patched.
        rule: The fusion rule.

    Raises:
        ConfigurationError: If module, class and weak model do not fit each other.
        DataError: If the data set lacks a class, or its images do not determine the rule.
    """
    header = weak.header
    cell = _data_cell(dataset, header.input_shape, header.seed)
    roles = prepare_images(cell, workspace).roles
    select, test = (images.of_classes(header.class_names) for images in (roles.select, roles.test))
    told: dict[str, Sequence[Mapping[str, Any]]] = {
        "the weak network": [_dumped(header.trained_on)],
        "the module": module.info.trained_on or [{}],
    }
    found = {
        name: [_train_images(entry, select.input_shape, workspace, dataset) for entry in entries]
        for name, entries in told.items()
    }
    select = unseen(select, [images for sets in found.values() for images in sets if images is not None])
    patched = patch(weak.model, module, select, target=target, rule=rule)
    before = _evaluation(network_logits(weak.model, test).argmax(1), test, left_out=len(roles.test) - len(test))
    return Patch(
        patched,
        before,
        _evaluate(patched, test, left_out=len(roles.test) - len(test)),
        images=len(select),
        unknown=tuple(name for name, sets in found.items() if any(images is None for images in sets)),
    )


def _origins(cell: Cell, prepared: Prepared, weights: TrainedWeights | None) -> tuple[dict[str, Any], ...]:
    """Returns which images a module was made with: those of its base model, and those that the splitter saw."""
    own = ImageOrigin.of(cell, prepared.dataset_hash)
    if weights is None or weights.header.trained_on == own:
        return (_dumped(own),)
    return _dumped(weights.header.trained_on), _dumped(own.model_copy(update={"part": "split_train"}))


def _dumped(origin: ImageOrigin | None) -> dict[str, Any]:
    return {} if origin is None else origin.model_dump(mode="json")


def _train_images(
    told: Mapping[str, Any], input_shape: tuple[int, int, int], workspace: Workspace, dataset: str
) -> ImageSet | None:
    """Returns the images that a file tells of; None where it tells of none that can be had again."""
    try:
        origin = ImageOrigin.model_validate(told)
    except ValidationError:
        return None
    return origin.train_images(input_shape, workspace, dataset=dataset)


def weak_network(file: Path, dataset: str, workspace: Workspace, *, name: str | None) -> TrainedWeights:
    """Returns a weak network from a file: one of 'splitbench train', or anybody's plain ``state_dict``.

    Args:
        file: A safetensors file.
        dataset: The data set of its classes, in the order of its logits where the file does not say it.
        workspace: Where to work.
        name: The network, e.g. ``python:package.module:factory``; checked where the file names one.

    Raises:
        ModuleFileError: If the file is absent, damaged or foreign.
        ConfigurationError: If the weights are another network's, or do not fit it, or the network is not named.
    """
    tensors = read_plain_tensors(file)
    if tensors is None:
        return load_weights(file, expected=name)
    if name is None:
        raise ConfigurationError(
            f"{file} holds plain weights, which do not say what network they are of; name it with --weak-model."
        )
    spec = ModelSpec(name=name)
    images = prepare_images(_data_cell(dataset, DatasetSpec(name=dataset).input_shape, 0), workspace).roles.select
    check_model(spec, input_shape=images.input_shape)
    return from_state_dict(file, tensors, spec, images, dataset=dataset)


def evaluate_model(model: ReusedModel | TrainedWeights, dataset: str, workspace: Workspace) -> Evaluation:
    """Scores a composed or patched model, or a trained network, on a data set's test images of its classes.

    Raises:
        DataError: If the data set lacks one of its classes.
    """
    if isinstance(model, TrainedWeights):
        shape, names = model.header.input_shape, model.header.class_names
    else:
        shape, names = model.input_form.shape, model.class_names
    everything = prepare_images(_data_cell(dataset, shape, 0), workspace).roles.test
    absent = [name for name in names if name not in everything.class_names]
    if absent:
        raise DataError(
            f"{dataset!r} has no images of {', '.join(map(repr, absent))}, which the model knows; its classes "
            f"are {', '.join(map(repr, everything.class_names))}. Name a data set with images of all of the model's."
        )
    test = everything.of_classes(names)
    left_out = len(everything) - len(test)
    if isinstance(model, TrainedWeights):
        return _evaluation(network_logits(model.model, test).argmax(1), test, left_out=left_out)
    return _evaluate(model, replace(test, normalisation=model.input_form.normalisation), left_out=left_out)


def _data_cell(dataset: str, shape: tuple[int, int, int], seed: int) -> Cell:
    cell = single_cell("simcnn", dataset, seed=seed)
    return cell.model_copy(update={"dataset": DatasetSpec(name=dataset, input_shape=shape)})


def _given(cell: Cell, workspace: Workspace, weights: TrainedWeights) -> Prepared:
    """Returns a trained network from a file in the place of a base model of the cell's own."""
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


def _check_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UnknownNameError("class", name, known, where="--classes")


def _retention(module: Module, graph: ChannelGraph) -> float:
    return sum(map(len, module.info.kept.values())) / graph.layout.n_kernels


@torch.no_grad()
def _evaluate(model: ReusedModel, test: ImageSet, *, left_out: int) -> Evaluation:
    answers = torch.cat([model.predict(batch) for batch in test.batches(_BATCH)])
    return _evaluation(answers, test, left_out=left_out)


def _evaluation(answers: Tensor, test: ImageSet, *, left_out: int) -> Evaluation:
    report = class_report(answers, test.labels, test.n_classes)
    counts = torch.bincount(test.labels, minlength=test.n_classes).tolist()
    figures = torch.stack([report.precision, report.recall, report.f1], dim=1).tolist()
    return Evaluation(
        accuracy=accuracy(answers, test.labels),
        images=len(test),
        left_out=left_out,
        classes=tuple(
            ClassScore(name, count, *three)
            for name, count, three in zip(test.class_names, counts, figures, strict=True)
        ),
    )
