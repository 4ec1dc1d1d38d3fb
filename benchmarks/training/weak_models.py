"""Weak models: the networks to be patched, weak in one of five ways.

Three are the papers' (arXiv 2209.06116, section 5; docs/design.md, "The papers' networks and recipe").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from pydantic import Field

from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.seeding import derive_seed
from splitters.data import ImageSet
from splitters.settings import Settings

WeakKind = Literal["over_simple", "under_fitted", "over_fitted", "few_images", "label_noise"]
WEAK_KINDS: tuple[WeakKind, ...] = get_args(WeakKind)
"""The first three are the papers'; the other two are weak in the target class only."""


class WeakSettings(Settings):
    """How weak a weak model is.

    Args:
        weak_kind: ``over_simple``: few convolutions. ``over_fitted``: the whole network, trained to the last epoch
            without dropout (of any kind), augmentation, momentum or weight decay. ``under_fitted``: the same, stopped
            early. ``few_images``: trained on few images of the target class. ``label_noise``: trained with wrong labels
            on images of the target class.
        convolutions: Convolutions of the over-simple network.
        early: The share of epochs after which the under-fitted network is stopped; the papers take half.
        target_share: The share of the target class's training images that ``few_images`` leaves, and that keep their
            labels under ``label_noise``.
    """

    weak_kind: WeakKind = "over_simple"
    convolutions: int = Field(default=3, ge=2, le=4)
    early: float = Field(default=0.5, gt=0, le=1)
    target_share: float = Field(default=0.1, gt=0, le=1)


@dataclass(frozen=True)
class WeakRecipe:
    """A network, its training, and its images.

    Args:
        model: The network.
        training: The recipe.
        roles: The images; those of select are never altered.
    """

    model: ModelSpec
    training: TrainingSpec
    roles: Roles


def differs_per_target(settings: WeakSettings) -> bool:
    """Return whether each target class has a weak model of its own."""
    return settings.weak_kind in ("few_images", "label_noise")


def weak_recipe(
    settings: WeakSettings, model: ModelSpec, training: TrainingSpec, roles: Roles, *, target: int, seed: int
) -> WeakRecipe:
    """Return how to train a weak model.

    Args:
        settings: What makes it weak.
        model: The strong network.
        training: The strong network's recipe.
        roles: The task's images.
        target: Index of the target class in the task.
        seed: Draws the images that are left out or mislabelled.
    """
    match settings.weak_kind:
        case "over_simple":
            width = model.settings.get("width", 1.0)
            simple = ModelSpec(
                name="simplecnn", settings={"width": width, "convolutions": settings.convolutions, "dropout": 0.0}
            )
            return WeakRecipe(simple, training, roles)
        case "over_fitted" | "under_fitted":
            share = settings.early if settings.weak_kind == "under_fitted" else 1.0
            unregularised = training.model_copy(
                update={
                    "momentum": 0.0,
                    "weight_decay": 0.0,
                    "flip": False,
                    "crop_padding": 0,
                    "keep": "last",
                    "dropout": False,
                    "epochs": max(1, round(training.epochs * share)),
                }
            )
            return WeakRecipe(model, unregularised, roles)
        case "few_images":
            train = _with_few_images(roles.train, target, settings.target_share, seed)
        case "label_noise":
            train = _with_label_noise(roles.train, target, settings.target_share, seed)
    return WeakRecipe(model, training, replace(roles, train=train))


def _with_few_images(images: ImageSet, target: int, share: float, seed: int) -> ImageSet:
    drawn = _draw_share(images, target, share, seed)
    kept = images.labels != target
    kept[drawn] = True
    return images.subset(kept.nonzero().flatten())


def _with_label_noise(images: ImageSet, target: int, share: float, seed: int) -> ImageSet:
    correct = _draw_share(images, target, share, seed)
    wrong = images.labels == target
    wrong[correct] = False
    generator = torch.Generator().manual_seed(derive_seed(seed, "wrong labels", target))
    labels = images.labels.clone()
    # Uniform over the other classes.
    others = torch.randint(0, images.n_classes - 1, (int(wrong.sum()),), generator=generator)
    labels[wrong] = others + (others >= target).long()
    return replace(images, labels=labels)


def _draw_share(images: ImageSet, target: int, share: float, seed: int) -> torch.Tensor:
    """Return the indices of a random share of a class's images, at least one."""
    of_target = (images.labels == target).nonzero().flatten()
    generator = torch.Generator().manual_seed(derive_seed(seed, "some of a class", target))
    order = torch.randperm(len(of_target), generator=generator)
    return of_target[order[: max(1, round(share * len(of_target)))]]
