"""Tasks for patches: classes of a weak model's data set, and a target class of another data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks.data.roles import Roles
from benchmarks.seeding import derive_seed
from splitters.data import ImageSet
from splitters.errors import ConfigurationError


def joined_task(
    weak: Roles,
    weak_classes: tuple[str, ...],
    strong: Roles,
    target: str,
    *,
    train_images: int | None,
    test_images: int | None,
    seed: int,
) -> Roles:
    """Return a task of some classes of one data set and, as the last class, one class of another.

    Images keep their roles: train images come from both train sets, and so on.

    Args:
        weak: The first data set's images.
        weak_classes: The names of its classes that take part.
        strong: The other data set's images.
        target: The name of the class to take from it.
        train_images: Maximum number of the target class's train images; of its select images, the same share.
        test_images: Maximum number of the target class's test images.
        seed: Seeds the choice.

    Raises:
        ConfigurationError: If the target class has the name of another class.
        DataError: If a data set lacks a class.
    """
    if target in weak_classes:
        raise ConfigurationError(
            f"the target class {target!r} is also the name of one of the other data set's classes; leave that out."
        )
    available = int((strong.train.labels == strong.train.class_names.index(target)).sum())
    share = 1.0 if train_images is None else min(1.0, train_images / max(1, available))
    select_images = max(1, round(share * int((strong.select.labels == strong.select.class_names.index(target)).sum())))

    def joined(first: ImageSet, second: ImageSet, limit: int | None, role: str) -> ImageSet:
        own = second.of_classes((target,))
        order = np.random.default_rng(derive_seed(seed, "target images", role, target)).permutation(len(own))
        taken = own.subset(torch.from_numpy(np.sort(order[:limit])))
        others = first.of_classes(weak_classes)
        return replace(
            others,
            images=torch.cat([others.images, taken.images]),
            labels=torch.cat([others.labels, torch.full_like(taken.labels, len(weak_classes))]),
            class_names=(*weak_classes, target),
        )

    return Roles(
        joined(weak.train, strong.train, train_images, "train"),
        joined(weak.select, strong.select, None if train_images is None else select_images, "select"),
        joined(weak.test, strong.test, test_images, "test"),
    )
