"""The roles of images: stratified, disjoint, seeded, and blind to the test set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cells import DatasetSpec, DirichletSpec
from benchmarks.data.datasets import Dataset
from benchmarks.data.roles import Roles, apportion, estimator_roles, make_roles
from splitters.data import ImageSet, Normalisation
from splitters.errors import DataError


def _images(counts: list[int], start: int = 0) -> ImageSet:
    """Each image's first four bytes spell its number, so that it can be told apart afterwards."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))]
    numbers = np.arange(start, start + len(labels), dtype="<u4").view(np.uint8).reshape(-1, 1, 2, 2)
    names = tuple(f"class {i}" for i in range(len(counts)))
    return ImageSet(torch.from_numpy(numbers.copy()), labels, names, Normalisation((0.5,), (0.5,)))


def _numbers(images: ImageSet) -> list[int]:
    return list(images.images.numpy().reshape(len(images), 4).copy().view("<u4")[:, 0])


def _dataset(train: list[int], test: list[int] | None = None) -> Dataset:
    return Dataset("toy", _images(train), _images(test or train, start=10**6), content_hash="0", flips=True)


def _counts(images: ImageSet) -> list[int]:
    return torch.bincount(images.labels, minlength=images.n_classes).tolist()


def _same(first: ImageSet, second: ImageSet) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)


_TOY = DatasetSpec(name="toy")


@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=6), seed=st.integers(0, 2**40))
def test_train_and_select_are_all_of_training_disjoint_and_stratified(counts: list[int], seed: int) -> None:
    dataset = _dataset(counts)
    roles = make_roles(dataset, _TOY, seed=seed)
    train, select = set(_numbers(roles.train)), set(_numbers(roles.select))
    assert not train & select
    assert train | select == set(_numbers(dataset.train))
    for count, chosen in zip(counts, _counts(roles.select), strict=True):
        assert 1 <= chosen < count
        assert abs(chosen - count / 5) <= max(0.5, 1 - count / 5)
    assert roles.test is dataset.test


def test_images_per_class_even_out_classes_of_different_sizes() -> None:
    dataset = _dataset([200, 10, 40])
    roles = make_roles(dataset, _TOY.model_copy(update={"images_per_class": 20}), seed=1)
    assert _counts(roles.train) == [16, 8, 16]
    assert _counts(roles.select) == [4, 2, 4]
    assert roles.test is dataset.test
    capped = make_roles(dataset, _TOY.model_copy(update={"images_per_class": 10, "train_images": 6}), seed=1)
    assert _counts(capped.train) == [2, 2, 2]


def test_a_dirichlet_draw_takes_from_the_images_per_class() -> None:
    spec = _TOY.model_copy(update={"images_per_class": 20, "dirichlet": DirichletSpec(alpha=1, estimator=3)})
    few = make_roles(_dataset([200, 10, 40]), spec.model_copy(update={"dirichlet": None}), seed=1)
    drawn = make_roles(_dataset([200, 10, 40]), spec, seed=1)
    numbers = [{*_numbers(roles.train), *_numbers(roles.select)} for roles in (drawn, few)]
    assert numbers[0] < numbers[1]


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=5),
    share=st.floats(0.2, 1.0),
    seed=st.integers(0, 99),
)
def test_limits_keep_the_shares_of_classes(counts: list[int], share: float, seed: int) -> None:
    dataset = _dataset(counts)
    whole = make_roles(dataset, _TOY, seed=seed)
    limit = max(len(counts), int(share * len(whole.train)))
    roles = make_roles(dataset, DatasetSpec(name="toy", train_images=limit), seed=seed)
    assert len(roles.train) == limit
    assert set(_numbers(roles.train)) <= set(_numbers(whole.train))
    assert _same(roles.select, whole.select)
    for kept, before in zip(_counts(roles.train), _counts(whole.train), strict=True):
        assert kept >= 1
        assert abs(kept - before * limit / len(whole.train)) <= 1


@given(counts=st.lists(st.integers(1, 500), min_size=1, max_size=20), data=st.data())
def test_apportioned_numbers_add_up_and_stay_within_bounds(counts: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(counts), sum(counts)))
    taken = apportion(np.array(counts), total)
    assert taken.sum() == total
    assert (taken >= 1).all()
    assert (taken <= counts).all()


def test_equal_seeds_give_equal_roles_and_other_seeds_others() -> None:
    dataset = _dataset([30, 30])
    first, again, other = (make_roles(dataset, _TOY, seed=seed) for seed in (1, 1, 2))
    assert _same(first.train, again.train)
    assert _same(first.select, again.select)
    assert not _same(first.select, other.select)


def _with_noise_as_test_set(dataset: Dataset) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (77, 1, 2, 2), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, dataset.train.n_classes, (77,), generator=generator)
    test = replace(dataset.test, images=noise, labels=labels)
    return Dataset("toy", dataset.train, test, content_hash="1", flips=True)


@pytest.mark.parametrize("dirichlet", [None, DirichletSpec(alpha=1.0, min_images=5)])
def test_a_poisoned_test_set_changes_nothing_else(dirichlet: DirichletSpec | None) -> None:
    dataset = _dataset([50, 50, 50])
    spec = DatasetSpec(name="toy", train_images=40, select_images=9, dirichlet=dirichlet)
    clean = make_roles(dataset, spec, seed=3)
    poisoned = make_roles(_with_noise_as_test_set(dataset), spec, seed=3)
    assert _same(clean.train, poisoned.train)
    assert _same(clean.select, poisoned.select)
    assert len(poisoned.test) == 77


def test_too_few_images_of_a_class_are_refused() -> None:
    with pytest.raises(
        DataError, match="class 'class 1' has 1 images; the split into train and select needs at least 2"
    ):
        make_roles(_dataset([20, 1]), _TOY, seed=0)


@pytest.mark.parametrize("key", ["train_images", "select_images"])
def test_a_limit_below_the_number_of_classes_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=rf"{key}: 2 images cannot hold 3 classes; ask for at least 3"):
        make_roles(_dataset([20, 20, 20]), DatasetSpec.model_validate({"name": "toy", key: 2}), seed=0)


def _draw(dataset: Dataset, *, seed: int = 0, **settings: float) -> Roles:
    spec = DatasetSpec(name="toy", dirichlet=DirichletSpec.model_validate(settings))
    return make_roles(dataset, spec, seed=seed)


def _drawn(roles: Roles) -> set[int]:
    return {*_numbers(roles.train), *_numbers(roles.select)}


@given(alpha=st.floats(0.3, 5), estimator=st.integers(0, 50))
def test_a_dirichlet_draw_keeps_its_largest_class_whole_and_the_smallest_large_enough(
    alpha: float, estimator: int
) -> None:
    roles = _draw(_dataset([100] * 4), alpha=alpha, min_images=10, estimator=estimator)
    totals = np.add(_counts(roles.train), _counts(roles.select))
    assert totals.max() == 100
    assert totals.min() >= 10
    for total, select in zip(totals, _counts(roles.select), strict=True):
        assert select == np.rint(total / 5)


def test_the_estimator_alone_decides_which_images_are_drawn() -> None:
    dataset = _dataset([100] * 4)
    first = _draw(dataset, alpha=1, min_images=5, estimator=1, seed=0)
    other_seed = _draw(dataset, alpha=1, min_images=5, estimator=1, seed=9)
    other_estimator = _draw(dataset, alpha=1, min_images=5, estimator=2, seed=0)
    assert _drawn(first) == _drawn(other_seed)
    assert set(_numbers(first.train)) != set(_numbers(other_seed.train))
    assert _drawn(first) != _drawn(other_estimator)


def test_more_images_than_a_class_has_cannot_be_asked_for() -> None:
    with pytest.raises(DataError, match=r"dirichlet\.min_images: class 'class 1' has 40 images in all, but 41"):
        _draw(_dataset([100, 40]), alpha=1, min_images=41)


@pytest.mark.parametrize("alpha", [1e-3, 1e-300])
def test_an_infeasible_draw_ends_with_an_error(alpha: float) -> None:
    with pytest.raises(DataError, match=r"none of 10000 draws with alpha .* raise alpha or lower min_images"):
        _draw(_dataset([100] * 4), alpha=alpha, min_images=99)


@pytest.mark.parametrize("estimator", [0, 3])
def test_an_estimator_learns_from_a_part_of_train_and_from_nothing_of_the_select_of_all(estimator: int) -> None:
    everything = make_roles(_dataset([90, 60, 50]), DatasetSpec(name="toy"), seed=1)
    spec = DirichletSpec(alpha=1.0, min_images=10, estimator=estimator)
    own, again = (estimator_roles(everything, spec, seed=1) for _ in range(2))
    train, select = set(_numbers(own.train)), set(_numbers(own.select))
    assert not train & select
    assert train | select < set(_numbers(everything.train))
    assert not (train | select) & set(_numbers(everything.select))
    assert min(_counts(own.train)) >= 8, "of ten images of a class eight fit"
    assert own.test is everything.test
    assert _same(own.train, again.train)
    other = estimator_roles(everything, spec.model_copy(update={"estimator": 7}), seed=1)
    assert _counts(other.train) != _counts(own.train)
