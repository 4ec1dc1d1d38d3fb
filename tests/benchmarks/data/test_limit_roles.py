from __future__ import annotations

import pytest
import torch

from benchmarks.cells import DatasetSpec
from benchmarks.data.roles import Roles, limit_roles
from splitters.data import ImageSet, Normalisation
from splitters.errors import DataError


def image_set(count: int) -> ImageSet:
    pixels = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 4, tuple("abcd"), Normalisation((0.5,), (0.5,)))


ROLES = Roles(image_set(80), image_set(40), image_set(12))


def test_limits_keep_the_shares_of_the_classes_and_leave_the_other_roles_alone() -> None:
    limited = limit_roles(ROLES, DatasetSpec(name="digits", split_train_images=20), seed=0)
    assert torch.bincount(limited.train.labels).tolist() == [5, 5, 5, 5]
    assert limited.select is ROLES.select
    assert limited.test is ROLES.test


def test_the_seed_says_which_images_are_taken() -> None:
    spec = DatasetSpec(name="digits", split_select_images=8)
    first, again, other = (limit_roles(ROLES, spec, seed=seed).select.images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_limit_above_the_number_of_images_keeps_all() -> None:
    assert limit_roles(ROLES, DatasetSpec(name="digits", split_train_images=500), seed=0).train is ROLES.train


def test_a_limit_below_the_number_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match="split_train_images: 3 images cannot hold 4 classes"):
        limit_roles(ROLES, DatasetSpec(name="digits", split_train_images=3), seed=0)
