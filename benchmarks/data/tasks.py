"""Tasks that modules are composed for: some classes of one data set, or of two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from benchmarks.seeding import derive_seed
from splitters.data import ImageSet
from splitters.errors import ConfigurationError

Classes = tuple[int, ...]


def class_subsets(n_classes: int, size: int, *, count: int, seed: int) -> list[Classes]:
    """Return distinct sets of classes: all of them, or a seeded sample.

    Args:
        n_classes: Number of classes.
        size: Number of classes in a set.
        count: Maximum number of sets.
        seed: Seeds the sample.

    Raises:
        ConfigurationError: If a set would be larger than ``n_classes``, or have one class only.
    """
    if not 1 < size <= n_classes:
        raise ConfigurationError(f"a task of {size} classes cannot be had of {n_classes}; take 2 to {n_classes}.")
    if math.comb(n_classes, size) <= count:
        return list(combinations(range(n_classes), size))
    rng = np.random.default_rng(derive_seed(seed, "sub-tasks", size))
    return _sample(lambda: tuple(sorted(rng.choice(n_classes, size, replace=False).tolist())), count)


def joint_subsets(n_first: int, n_second: int, size: int, *, count: int | None, seed: int) -> list[Classes]:
    """Return distinct sets of classes of two data sets, with at least one class of each.

    Args:
        n_first: Number of classes of the first data set; they have the indices 0 to ``n_first - 1``.
        n_second: Number of classes of the second one; their indices follow.
        size: Number of classes in a set.
        count: Maximum number of sets; None means all pairs.
        seed: Seeds the sample.

    Raises:
        ConfigurationError: If a set would be larger than there are classes, or have one class only, or if ``count`` is
            None for sets of more than two classes.
    """
    n_classes = n_first + n_second
    if not 1 < size <= n_classes:
        raise ConfigurationError(f"a task of {size} classes cannot be had of {n_classes}; take 2 to {n_classes}.")
    if count is None and size != 2:
        raise ConfigurationError(f"all tasks of {size} classes would be too many; say how many with 'tasks'.")

    def is_joint(classes: Classes) -> bool:
        return classes[0] < n_first <= classes[-1]

    if size == 2:
        pairs: list[Classes] = list(product(range(n_first), range(n_first, n_classes)))
        if count is None or count >= len(pairs):
            return pairs
    elif count is not None and math.comb(n_classes, size) <= count:
        return [classes for classes in combinations(range(n_classes), size) if is_joint(classes)]
    rng = np.random.default_rng(derive_seed(seed, "joint tasks", size))
    possible = math.comb(n_classes, size) - math.comb(n_first, size) - math.comb(n_second, size)

    def draw() -> Classes:
        while True:
            classes = tuple(sorted(rng.choice(n_classes, size, replace=False).tolist()))
            if is_joint(classes):
                return classes

    return _sample(draw, min(count or possible, possible))


def _sample(draw: Callable[[], Classes], count: int) -> list[Classes]:
    found: dict[Classes, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def joined(parts: Sequence[tuple[ImageSet, str]], class_names: Sequence[str]) -> ImageSet:
    """Return one class of each of several sets as one set, in the given order.

    Args:
        parts: Sets of images, each with the name of the class to take.
        class_names: The names of the classes in the new set.
    """
    chosen = [images.of_classes((name,)) for images, name in parts]
    labels = [torch.full_like(part.labels, index) for index, part in enumerate(chosen)]
    return replace(
        chosen[0],
        images=torch.cat([part.images for part in chosen]),
        labels=torch.cat(labels),
        class_names=tuple(class_names),
    )


def few_of_each(images: ImageSet, limit: int, *, seed: int) -> Int64[Tensor, " chosen"]:
    """Return the indices of at most ``limit`` images of each class, in order; a larger limit keeps a superset.

    Args:
        images: The images.
        limit: Maximum number of images of a class.
        seed: Seeds the choice.
    """
    order = np.random.default_rng(derive_seed(seed, "few of each class")).permutation(len(images))
    labels = images.labels.cpu().numpy()[order]
    chosen = [order[np.flatnonzero(labels == label)[:limit]] for label in range(images.n_classes)]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
