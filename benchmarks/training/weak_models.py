"""Weak models: the networks that patches are to mend, weak in one of five ways (DESIGN.md section 10)."""

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
"""The ways to be weak. The first three are the papers'; the other two are weak in the target class alone."""


class WeakSettings(Settings):
    """How weak a weak model is.

    Args:
        weak_kind: ``over_simple``: few convolutions. ``over_fitted``: the whole network without dropout (of any kind),
            augmentation, momentum or weight decay, taken after the last epoch. ``under_fitted``: the same, taken early.
            ``few_images``: trained with few images of the target class. ``label_noise``: trained with wrong labels on
            images of the target class.
        convolutions: Of the over-simple network.
        early: The share of epochs after which the under-fitted network is taken; the papers take half.
        target_share: The share of the target class's training images that ``few_images`` leaves, and that keep their
            labels under ``label_noise``.
    """

    weak_kind: WeakKind = "over_simple"
    convolutions: int = Field(default=3, ge=2, le=4)
    early: float = Field(default=0.5, gt=0, le=1)
    target_share: float = Field(default=0.1, gt=0, le=1)


@dataclass(frozen=True)
class WeakRecipe:
    """What is trained, how, and on what.

    Args:
        model: The network.
        training: The recipe.
        roles: The images; those of select are never tampered with.
    """

    model: ModelSpec
    training: TrainingSpec
    roles: Roles


def differs_per_target(settings: WeakSettings) -> bool:
    """Says whether each target class has a weak model of its own."""
    return settings.weak_kind in ("few_images", "label_noise")


def weak_recipe(
    settings: WeakSettings, model: ModelSpec, training: TrainingSpec, roles: Roles, *, target: int, seed: int
) -> WeakRecipe:
    """Returns how a weak model comes to be.

    Args:
        settings: What makes it weak.
        model: The strong network.
        training: The strong network's recipe.
        roles: The task's images.
        target: The target class among the task's.
        seed: Seeds which images or labels are taken.
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
            bare = training.model_copy(
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
            return WeakRecipe(model, bare, roles)
        case "few_images":
            train = _with_few(roles.train, target, settings.target_share, seed)
        case "label_noise":
            train = _with_noise(roles.train, target, settings.target_share, seed)
    return WeakRecipe(model, training, replace(roles, train=train))


def _with_few(images: ImageSet, target: int, share: float, seed: int) -> ImageSet:
    chosen = _some(images, target, share, seed)
    kept = images.labels != target
    kept[chosen] = True
    return images.subset(kept.nonzero().flatten())


def _with_noise(images: ImageSet, target: int, share: float, seed: int) -> ImageSet:
    right = _some(images, target, share, seed)
    wrong = images.labels == target
    wrong[right] = False
    generator = torch.Generator().manual_seed(derive_seed(seed, "wrong labels", target))
    labels = images.labels.clone()
    # One of the other classes, each as likely.
    drawn = torch.randint(0, images.n_classes - 1, (int(wrong.sum()),), generator=generator)
    labels[wrong] = drawn + (drawn >= target).long()
    return replace(images, labels=labels)


def _some(images: ImageSet, target: int, share: float, seed: int) -> torch.Tensor:
    """Returns the indices of a share of a class's images, one at least."""
    of_target = (images.labels == target).nonzero().flatten()
    generator = torch.Generator().manual_seed(derive_seed(seed, "some of a class", target))
    order = torch.randperm(len(of_target), generator=generator)
    return of_target[order[: max(1, round(share * len(of_target)))]]
