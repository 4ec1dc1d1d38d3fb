"""Tasks that modules are composed for: some classes of one data set, or of two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import torch

from benchmarks.seeding import derive_seed
from splitters.data import ImageSet
from splitters.errors import ConfigurationError

Classes = tuple[int, ...]


def class_subsets(n_classes: int, size: int, *, count: int, seed: int) -> list[Classes]:
    """Returns different sets of classes: all there are, or a seeded sample of them.

    Args:
        n_classes: How many classes there are.
        size: How many classes a set has.
        count: How many sets at most.
        seed: Seeds the sample.

    Raises:
        ConfigurationError: If there are not so many classes.
    """
    if not 1 < size <= n_classes:
        raise ConfigurationError(f"a task of {size} classes cannot be had of {n_classes}; take 2 to {n_classes}.")
    if math.comb(n_classes, size) <= count:
        return list(combinations(range(n_classes), size))
    rng = np.random.default_rng(derive_seed(seed, "sub-tasks", size))
    return _sample(lambda: tuple(sorted(rng.choice(n_classes, size, replace=False).tolist())), count)


def joint_subsets(n_first: int, n_second: int, size: int, *, count: int | None, seed: int) -> list[Classes]:
    """Returns different sets of classes of two data sets, with at least one class of each.

    Args:
        n_first: The classes of the first data set, which are counted from 0.
        n_second: Those of the second one, which are counted on.
        size: How many classes a set has.
        count: How many sets at most; None means all pairs.
        seed: Seeds the sample.

    Raises:
        ConfigurationError: If there are not so many classes, or all sets of more than two classes are asked for.
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
    """Returns images of one class each as one set, in the order in which they are given.

    Args:
        parts: Images, and the name that their class has there.
        class_names: What the classes are called in the new set.
    """
    own = [images.of_classes((name,)) for images, name in parts]
    labels = [torch.full_like(part.labels, place) for place, part in enumerate(own)]
    return replace(
        own[0],
        images=torch.cat([part.images for part in own]),
        labels=torch.cat(labels),
        class_names=tuple(class_names),
    )


def few_of_each(images: ImageSet, limit: int | None, *, seed: int) -> ImageSet:
    """Returns at most ``limit`` images of each class, in order; what a limit keeps, larger ones keep too.

    Args:
        images: The images.
        limit: How many of a class; None keeps all.
        seed: Seeds which.
    """
    if limit is None:
        return images
    order = np.random.default_rng(derive_seed(seed, "few of each class")).permutation(len(images))
    labels = images.labels.cpu().numpy()[order]
    chosen = [order[np.flatnonzero(labels == label)[:limit]] for label in range(images.n_classes)]
    return images.subset(torch.from_numpy(np.sort(np.concatenate(chosen))))
