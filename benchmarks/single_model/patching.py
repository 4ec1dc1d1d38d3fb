"""Patches for a single weak network, calibrated on images that none of their parts has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from benchmarks.cells import DatasetSpec
from benchmarks.pipeline.preparation import images_for
from benchmarks.pipeline.workspace import Workspace
from benchmarks.single_model.evaluation import Evaluation, evaluate_network, evaluate_reused
from benchmarks.single_model.image_origin import ImageOrigin, origin_fields, unseen
from benchmarks.single_model.weights_file import TrainedWeights
from splitters.data import ImageSet
from splitters.modules.module import Module
from splitters.reuse.patched import PatchedModel, patch


@dataclass(frozen=True)
class Patch:
    """A patched model, and what the patch changed on the test set.

    Args:
        model: The patched model.
        before: The weak model alone.
        after: The patched model.
        images: Number of images that the patch was calibrated on.
        unknown: Which of the weak network and the module have training images that cannot be determined.
    """

    model: PatchedModel
    before: Evaluation
    after: Evaluation
    images: int
    unknown: tuple[str, ...]


def patch_model(
    weak: TrainedWeights, module: Module, dataset: str, workspace: Workspace, *, target: str, rule: str
) -> Patch:
    """Patch a trained network with a module, calibrated on select, and score both on test.

    Select images that the weak network or the module was trained on are left out, according to their files.

    Args:
        weak: The weak model.
        module: The module.
        dataset: The data set's name; images of classes that the weak model does not know are left out.
        workspace: The resources to use.
        target: The name of the class to be patched.
        rule: The fusion rule.

    Raises:
        ConfigurationError: If module, class and weak model do not fit each other.
        DataError: If the data set lacks a class, or its images do not determine the rule.
    """
    header = weak.header
    roles = images_for(DatasetSpec(name=dataset, input_shape=header.input_shape), header.seed, workspace).roles
    select, test = (weak.images_of(images.of_classes(header.class_names)) for images in (roles.select, roles.test))
    origins: dict[str, Sequence[Mapping[str, Any]]] = {
        "the weak network": [origin_fields(header.trained_on)],
        "the module": module.info.trained_on or [{}],
    }
    seen = {
        name: [_train_images(entry, select.input_shape, workspace, dataset) for entry in entries]
        for name, entries in origins.items()
    }
    select = unseen(select, [images for sets in seen.values() for images in sets if images is not None])
    patched = patch(weak.model, module, select, target=target, rule=rule)
    left_out = len(roles.test) - len(test)
    return Patch(
        patched,
        evaluate_network(weak.model, test, left_out=left_out),
        evaluate_reused(patched, test, left_out=left_out),
        images=len(select),
        unknown=tuple(name for name, sets in seen.items() if any(images is None for images in sets)),
    )


def _train_images(
    origin_values: Mapping[str, Any], input_shape: tuple[int, int, int], workspace: Workspace, dataset: str
) -> ImageSet | None:
    """Return the training images that a file records; None if it records none, or they cannot be loaded."""
    try:
        origin = ImageOrigin.model_validate(origin_values)
    except ValidationError:
        return None
    return origin.train_images(input_shape, workspace, dataset=dataset)
