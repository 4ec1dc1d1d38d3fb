"""The roles of images: which ones fit, which ones guide choices, and which ones are kept for the final score.

Every draw depends only on the seed and on the labels of the images that it draws from; ``train`` and ``select`` never
depend on the test set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cells import DatasetSpec, DirichletSpec
from benchmarks.data.datasets import Dataset
from benchmarks.data.tasks import few_of_each
from benchmarks.seeding import derive_seed
from splitters.data import ImageSet
from splitters.errors import DataError

SELECT_SHARE = 0.2
"""The share of the official training images that is ``select``."""

_MAX_DRAWS = 10_000

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Roles:
    """The images of one cell.

    Args:
        train: Fits base models, weak models and masks.
        select: Guides choices: early stopping, fitness, calibration.
        test: The full official test set, for the final score alone.
    """

    train: ImageSet
    select: ImageSet
    test: ImageSet


def make_roles(dataset: Dataset, spec: DatasetSpec, *, seed: int) -> Roles:
    """Split a data set's images into roles: 80 % of the official training images are ``train``, 20 % ``select``.

    ``images_per_class`` and a Dirichlet draw apply, in this order, to the official training images before they are
    split; limits on the number of images apply last. All splits are stratified. A smaller limit keeps a subset of what
    a larger one keeps, up to rounding.

    Args:
        dataset: The official images.
        spec: Which of them take part.
        seed: Seeds everything but the Dirichlet draw, which is seeded by its estimator number.

    Raises:
        DataError: If a class has too few images, or no Dirichlet draw leaves enough of every class.
    """
    official = np.arange(len(dataset.train), dtype=np.int64)
    if spec.images_per_class is not None:
        official = few_of_each(dataset.train, spec.images_per_class, seed=seed).numpy()
    if spec.dirichlet is not None:
        official = official[_dirichlet(_labels(dataset.train)[official], spec.dirichlet, dataset.class_names)]
    train, select = _split(dataset.train, official, np.random.default_rng(derive_seed(seed, "roles")))
    return Roles(
        dataset.train.subset(_limited(dataset.train, train, spec.train_images, "train_images")),
        dataset.train.subset(_limited(dataset.train, select, spec.select_images, "select_images")),
        dataset.test,
    )


def estimator_roles(roles: Roles, spec: DirichletSpec, *, seed: int) -> Roles:
    """Return the images of one of several base models: a Dirichlet draw of ``train``, split like official images.

    80 % of the draw are its ``train``, 20 % its own ``select``. The draw leaves out the common ``select``, so that base
    models can be compared on it.

    Args:
        roles: The images of all base models.
        spec: The draw; its estimator number seeds the classes' shares.
        seed: Seeds the split.

    Raises:
        DataError: If a class has too few images, or no Dirichlet draw leaves enough of every class.
    """
    drawn = _dirichlet(_labels(roles.train), spec, roles.train.class_names)
    train, select = _split(roles.train, drawn, np.random.default_rng(derive_seed(seed, "estimator", spec.estimator)))
    return Roles(
        roles.train.subset(torch.from_numpy(np.sort(train))),
        roles.train.subset(torch.from_numpy(np.sort(select))),
        roles.test,
    )


def limit_roles(roles: Roles, spec: DatasetSpec, *, seed: int) -> Roles:
    """Return the images that a splitter sees: ``train`` and ``select`` up to the specification's limits.

    Args:
        roles: All images of the cell.
        spec: Its limits ``split_train_images`` and ``split_select_images``.
        seed: Seeds which images are taken.

    Raises:
        DataError: If a limit is below the number of classes.
    """

    def limited(images: ImageSet, limit: int | None, key: str) -> ImageSet:
        if limit is None or limit >= len(images):
            return images
        order = np.random.default_rng(derive_seed(seed, key)).permutation(len(images))
        return images.subset(_limited(images, order, limit, key))

    return Roles(
        limited(roles.train, spec.split_train_images, "split_train_images"),
        limited(roles.select, spec.split_select_images, "split_select_images"),
        roles.test,
    )


def apportion(counts: Indices, total: int) -> Indices:
    """Return the number of images to take of each class, at least one, so that ``total`` keep the classes' shares.

    Rounds by largest remainders; of equal remainders, the lower class index comes first.

    Args:
        counts: Images per class, each at least one.
        total: The number of images to take: at least one per class, at most all.
    """
    ideal = counts * (total / counts.sum())
    taken: Indices = np.clip(np.floor(ideal).astype(np.int64), 1, counts)
    while taken.sum() != total:
        missing = np.sign(total - taken.sum())
        room = taken < counts if missing > 0 else taken > 1
        distance = np.where(room, (ideal - taken) * missing, -np.inf)
        taken[int(np.argmax(distance))] += missing
    return taken


def _labels(images: ImageSet) -> Indices:
    return np.asarray(images.labels.cpu().numpy(), dtype=np.int64)


def _shuffled(indices: Indices, rng: np.random.Generator) -> Indices:
    shuffled: Indices = rng.permutation(indices)
    return shuffled


def _split(images: ImageSet, indices: Indices, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Return the two parts of ``indices``, 80 % and 20 %, each shuffled and stratified."""
    shuffled = _shuffled(indices, rng)
    labels = _labels(images)[shuffled]
    counts = np.bincount(labels, minlength=images.n_classes)
    if counts.min() < 2:
        label = int(counts.argmin())
        raise DataError(
            f"class {images.class_names[label]!r} has {counts[label]} images; the split into train and select needs at "
            "least 2 of each class."
        )
    chosen = _first_of_each_class(labels, np.clip(np.rint(counts * SELECT_SHARE).astype(np.int64), 1, counts - 1))
    return shuffled[~chosen], shuffled[chosen]


def _limited(images: ImageSet, indices: Indices, limit: int | None, key: str) -> Int64[Tensor, " chosen"]:
    """Return at most ``limit`` of ``indices``, stratified, in ascending order."""
    if limit is not None and limit < len(indices):
        labels = _labels(images)[indices]
        if limit < images.n_classes:
            raise DataError(
                f"{key}: {limit} images cannot hold {images.n_classes} classes; ask for at least {images.n_classes}."
            )
        counts = np.bincount(labels, minlength=images.n_classes)
        indices = indices[_first_of_each_class(labels, apportion(counts, limit))]
    return torch.from_numpy(np.sort(indices))


def _first_of_each_class(labels: Indices, counts: Indices) -> NDArray[np.bool_]:
    """Mark the first ``counts[c]`` positions of each class c."""
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, count in enumerate(counts):
        chosen[np.flatnonzero(labels == label)[:count]] = True
    return chosen


def _dirichlet(labels: Indices, spec: DirichletSpec, class_names: tuple[str, ...]) -> Indices:
    """Return one estimator's images: shares p / max p of each class, with p redrawn until every class has enough."""
    counts = np.bincount(labels, minlength=len(class_names))
    needed = max(spec.min_images, 2)
    if counts.min() < needed:
        label = int(counts.argmin())
        raise DataError(
            f"dirichlet.min_images: class {class_names[label]!r} has {counts[label]} images in all, but "
            f"{needed} are asked for."
        )
    rng = np.random.default_rng(spec.estimator)
    for _ in range(_MAX_DRAWS):
        shares = rng.dirichlet(np.full(len(counts), spec.alpha))
        taken = np.floor(counts * (shares / shares.max())).astype(np.int64)
        if taken.min() >= needed:
            shuffled = _shuffled(np.arange(len(labels), dtype=np.int64), rng)
            return np.sort(shuffled[_first_of_each_class(labels[shuffled], taken)])
    raise DataError(
        f"dirichlet: none of {_MAX_DRAWS} draws with alpha {spec.alpha} leaves every class {needed} images; raise "
        "alpha or lower min_images."
    )
