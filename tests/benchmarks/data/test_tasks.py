"""Tasks of some classes: which there are, and their images."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.data.tasks import class_subsets, few_of_each, joined, joint_subsets
from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError


def image_set(names: tuple[str, ...], n: int = 12, start: int = 0) -> ImageSet:
    """Returns images of one pixel, each of another value."""
    pixels = torch.arange(start, start + n, dtype=torch.uint8).view(n, 1, 1, 1)
    return ImageSet(pixels, torch.arange(n) % len(names), names, Normalisation((0.5,), (0.5,)))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 9), size=st.integers(2, 9), count=st.integers(1, 40), seed=st.integers(0, 99))
def test_sub_tasks_are_different_sorted_and_as_many_as_can_be(n: int, size: int, count: int, seed: int) -> None:
    if size > n:
        return
    found = class_subsets(n, size, count=count, seed=seed)
    assert found == class_subsets(n, size, count=count, seed=seed)
    possible = list(combinations(range(n), size))
    assert len(set(found)) == len(found) == min(count, len(possible))
    assert set(found) <= set(possible)


@settings(max_examples=40, deadline=None)
@given(first=st.integers(1, 4), second=st.integers(1, 4), size=st.integers(2, 8), seed=st.integers(0, 99))
def test_joint_tasks_have_a_class_of_each_data_set(first: int, second: int, size: int, seed: int) -> None:
    if size > first + second:
        return
    found = joint_subsets(first, second, size, count=5, seed=seed)
    possible = [classes for classes in combinations(range(first + second), size) if classes[0] < first <= classes[-1]]
    assert len(set(found)) == len(found)
    assert len(found) >= min(5, len(possible))
    assert set(found) <= set(possible)


def test_all_pairs_are_a_class_of_each() -> None:
    assert joint_subsets(2, 2, 2, count=None, seed=0) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    with pytest.raises(ConfigurationError, match="all tasks of 3 classes would be too many"):
        joint_subsets(2, 2, 3, count=None, seed=0)


@pytest.mark.parametrize("size", [1, 5])
def test_sizes_that_cannot_be_had_are_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"a task of {size} classes cannot be had of 4; take 2 to 4"):
        class_subsets(4, size, count=3, seed=0)
    with pytest.raises(ConfigurationError, match=f"a task of {size} classes cannot be had of 4; take 2 to 4"):
        joint_subsets(2, 2, size, count=3, seed=0)


def test_joined_images_bear_the_place_of_their_class_in_the_task() -> None:
    one, other = image_set(("ant", "bee")), image_set(("cat", "ant", "dog"), start=100)
    task = joined([(other, "dog"), (one, "bee")], ("big", "small"))
    assert task.class_names == ("big", "small")
    assert task.images.flatten().tolist() == [102, 105, 108, 111, 1, 3, 5, 7, 9, 11]
    assert task.labels.tolist() == [0] * 4 + [1] * 6


def test_few_of_each_class_are_a_part_of_more() -> None:
    images = image_set(("ant", "bee"))
    few, more = (images.subset(few_of_each(images, limit, seed=3)) for limit in (2, 5))
    assert torch.bincount(few.labels).tolist() == [2, 2]
    assert torch.bincount(more.labels).tolist() == [5, 5]
    assert set(few.images.flatten().tolist()) < set(more.images.flatten().tolist())
    assert len(few_of_each(images, 99, seed=3)) == 12
