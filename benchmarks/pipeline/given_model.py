"""Given models in a cell: loaded for its classes, and checked on select before anything is searched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.cells import ModelSpec
from benchmarks.data.roles import Roles
from benchmarks.models import GivenModel, load_given, normalisation_of
from benchmarks.models.inference import predict_logits
from benchmarks.pipeline.workspace import Workspace
from benchmarks.training.base_model import TrainedModel, weights_hash
from splitters.data import ImageSet, Normalisation
from splitters.data.normalisation import imagenet_statistics
from splitters.errors import ConfigurationError
from splitters.networks.inference import accuracy, plausible_accuracy

UNKNOWN_TRAINING = (
    "the base model is given, and which images it was trained on is not known: select and test may hold some of them, "
    "which flatters its accuracy and that of its modules."
)

_TRIED_IMAGES = 1000
_NAMES_SHOWN = 12


class ImplausibleModelError(ConfigurationError):
    """A given model recognises the data's classes hardly better than chance."""


@dataclass(frozen=True)
class Remedy:
    """A change under which a given model would be more accurate on select.

    Args:
        change: The change, as a setting.
        accuracy: The accuracy with it.
    """

    change: str
    accuracy: float


def prepare_given(spec: ModelSpec, roles: Roles, workspace: Workspace) -> tuple[TrainedModel, tuple[str, ...]]:
    """Load a given model, check it on select, and return it and what the user should know.

    Args:
        spec: The model, complete.
        roles: Images of the task's classes, normalised as the model wants them; see ``with_normalisation``.
        workspace: Where to work.

    Raises:
        ImplausibleModelError: If its accuracy is below ``plausible_accuracy`` and the model does not set ``force``.
        SplitbenchError: See ``load_given``.
    """
    started = time.perf_counter()
    given = load_for(spec, roles.select, workspace)
    network = given.network.to(workspace.device)
    right, diagnosis = plausibility(spec, network, roles.select)
    if diagnosis is not None and not spec.force:
        raise ImplausibleModelError(
            f"{diagnosis} To go on all the same, give --force or set 'force: true' on the model."
        )
    warnings = () if diagnosis is None else (f"{diagnosis} The model was used all the same, as 'force' says.",)
    base = TrainedModel(
        model=network,
        weights_hash=weights_hash(network),
        select_accuracy=right,
        epochs=0,
        best_epoch=0,
        seconds=time.perf_counter() - started,
        reused=False,
        peak_memory_bytes=None,
        source=given.source,
    )
    return base, (UNKNOWN_TRAINING, *given.notes, *warnings)


def load_for(spec: ModelSpec, images: ImageSet, workspace: Workspace) -> GivenModel:
    """Load a given model for the classes and the shape of some images; see ``load_given``."""
    return load_given(
        spec,
        task_classes=images.class_names,
        input_shape=images.input_shape,
        cache=workspace.cache,
        download=workspace.download,
    )


def with_normalisation(roles: Roles, spec: ModelSpec) -> Roles:
    """Return images as a model's own weights want them; those of a model without weights are left as they are."""
    if not spec.is_given:
        return roles
    normalisation = normalisation_of(spec, roles.train.input_shape[0])
    return Roles(*(replace(images, normalisation=normalisation) for images in (roles.train, roles.select, roles.test)))


def plausibility(spec: ModelSpec, network: nn.Module, select: ImageSet) -> tuple[float, str | None]:
    """Return a given model's accuracy on select and, if that is hardly better than chance, what to do about it.

    Args:
        spec: The model.
        network: Its network, on any device.
        select: Select images of its classes, normalised as it wants them.
    """
    answers = predict_logits(network, select).argmax(1).cpu()
    right = accuracy(answers, select.labels.cpu())
    if right >= plausible_accuracy(select.n_classes):
        return right, None
    return right, _diagnosis(spec, network, select, answers, right)


def _diagnosis(spec: ModelSpec, network: nn.Module, select: ImageSet, answers: Tensor, right: float) -> str:
    names = spec.class_names or select.class_names
    bound = plausible_accuracy(select.n_classes)
    head = (
        f"model {spec.name!r}: {100 * right:.1f} % of the select images are right, less than {100 * bound:.1f} %, "
        f"{'twice chance' if select.n_classes > 2 else 'which a trained model reaches'}."
    )
    tried = _remedies(network, select, answers, names)
    remedies = [remedy for remedy in tried if remedy.accuracy >= max(bound, 1.5 * right)]
    if not remedies:
        return (
            f"{head} Likely causes: the normalisation, the order of the colour channels, the order of the classes, "
            "other classes, or weights that are not trained; no other common normalisation, channel order or class "
            "order makes it plausible."
        )
    best = sorted(remedies, key=lambda remedy: -remedy.accuracy)
    found = "; ".join(f"{100 * remedy.accuracy:.1f} % with {remedy.change}" for remedy in best)
    return f"{head} It would be right on {found}."


def _remedies(network: nn.Module, select: ImageSet, answers: Tensor, names: Sequence[str]) -> Iterator[Remedy]:
    some = _some(select)
    for title, normalisation in likely_normalisations(some):
        if normalisation != select.normalisation:
            yield Remedy(f"normalisation {title}", _accuracy(network, replace(some, normalisation=normalisation)))
    if select.input_shape[0] == len("RGB"):
        change = "blue before red (BGR: reverse the input channels of the first convolution's weights)"
        yield Remedy(change, _accuracy(network, replace(some, images=some.images.flip(1))))
    order, right = best_order(answers, select.labels.cpu(), select.n_classes)
    renamed = {name: select.class_names[label] for name, label in zip(select.class_names, order, strict=True)}
    named = [renamed.get(name, name) for name in names]
    more = ", ..." if len(named) > _NAMES_SHOWN else ""
    yield Remedy(f"class_names: [{', '.join(named[:_NAMES_SHOWN])}{more}]", right)


def likely_normalisations(images: ImageSet) -> list[tuple[str, Normalisation]]:
    """Return the normalisations in common use, and that by the images' own statistics, each as a setting."""
    channels = images.input_shape[0]
    pixels = images.images.float().div(255).permute(1, 0, 2, 3).flatten(1)
    mean, std = (
        tuple(round(float(value), 3) for value in values)
        for values in (pixels.mean(1), pixels.std(1, correction=0).clamp_min(0.001))
    )
    return [
        ("imagenet", imagenet_statistics(channels)),
        ("none", Normalisation((0.0,) * channels, (1.0,) * channels)),
        (_text((0.5,) * channels, (0.5,) * channels), Normalisation((0.5,) * channels, (0.5,) * channels)),
        (f"{_text(mean, std)}, the images' own", Normalisation(mean, std)),
    ]


def _text(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"{{mean: {list(mean)}, std: {list(std)}}}"


def settled_normalisation(spec: ModelSpec, select: ImageSet, workspace: Workspace) -> ModelSpec:
    """Return a given model with its normalisation: ImageNet's, with a warning, if none is given and none fits better.

    Args:
        spec: The model, complete.
        select: Select images of its classes.
        workspace: Where to work.

    Raises:
        ConfigurationError: If nothing is said and another normalisation in common use makes it clearly more accurate.
    """
    if not spec.is_given or spec.normalisation is not None:
        return spec
    assumed = spec.model_copy(update={"normalisation": "imagenet"})
    network = load_for(assumed, select, workspace).network.to(workspace.device)
    some = _some(select)
    found = {
        title: _accuracy(network, replace(some, normalisation=normalisation))
        for title, normalisation in likely_normalisations(some)
    }
    best = max(found, key=lambda title: found[title])
    if found[best] >= max(found["imagenet"] + _CLEARLY, plausible_accuracy(select.n_classes)):
        lines = [f"  {100 * right:.1f} % with {title}" for title, right in found.items()]
        raise ConfigurationError(
            "\n".join(
                [
                    f"model {spec.name!r}: {spec.weights} does not say how the images were normalised that it was "
                    "trained on; give --normalisation, or --mean and --std. On select it is right on:",
                    *lines,
                ]
            )
        )
    workspace.warn(
        f"model {spec.name!r}: {spec.weights} does not say how the images were normalised that it was trained on; "
        f"ImageNet's statistics are assumed, with which it is right on {100 * found['imagenet']:.1f} % of select. "
        "Confirm them with --normalisation imagenet, or give others with --mean and --std."
    )
    return assumed


_CLEARLY = 0.05
"""Accuracy by which another normalisation must be better before ImageNet's is not simply taken."""


def best_order(answers: Tensor, labels: Tensor, n_classes: int) -> tuple[list[int], float]:
    """Return the class of each logit under which most answers are right, and the accuracy with it.

    Args:
        answers: The logit with the highest value, for each image.
        labels: Its class.
        n_classes: The number of classes.
    """
    from scipy.optimize import linear_sum_assignment  # here, because importing it takes half a second

    confusion = torch.bincount(answers * n_classes + labels, minlength=n_classes * n_classes)
    counts = confusion.view(n_classes, n_classes).numpy()
    logits, classes = linear_sum_assignment(counts, maximize=True)
    return np.asarray(classes).tolist(), float(counts[logits, classes].sum() / max(1, len(labels)))


def _some(images: ImageSet) -> ImageSet:
    """Return some images, evenly spread."""
    step = -(-len(images) // _TRIED_IMAGES)
    return images.subset(torch.arange(0, len(images), step))


def _accuracy(network: nn.Module, images: ImageSet) -> float:
    return accuracy(predict_logits(network, images).argmax(1).cpu(), images.labels.cpu())
