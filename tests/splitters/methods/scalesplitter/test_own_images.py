"""Batches of images of each module's own, and their weights."""

import math

import pytest
import torch

from splitters.data import IMAGENET, ImageSet
from splitters.methods.scalesplitter.own_images import OwnImages


def _own(labels: list[int], *, seed: int = 0) -> OwnImages:
    pixels = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    images = ImageSet(pixels, torch.tensor(labels), ("a", "b", "c"), IMAGENET)
    return OwnImages(images, batch_size=5, positives=2, prior=0.25, generator=torch.Generator().manual_seed(seed))


def test_the_first_images_of_each_module_show_its_class_and_the_others_do_not() -> None:
    own = _own([0, 1, 2] * 4)
    batches = list(own.batches(20))
    for indices in batches:
        shown = own.images.labels[indices] == torch.arange(3)[:, None]
        assert shown.tolist() == [[True, True, False, False, False]] * 3
    assert set(torch.stack(batches).flatten().tolist()) == set(range(12)), "all images take part"


def test_draws_follow_the_generator() -> None:
    one, same, other = (torch.stack(list(_own([0, 1, 2] * 4, seed=seed).batches(3))) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_losses_weigh_the_class_by_its_prior_and_average_over_modules() -> None:
    own = _own([0, 0, 1, 1, 2, 2])
    indices = torch.tensor([[0, 1, 2, 3, 4], [2, 3, 0, 1, 4], [4, 5, 0, 1, 2]])
    assert float(own.loss(torch.zeros(3, 5), indices)) == pytest.approx(math.log(2))
    scores = torch.zeros(3, 5)
    scores[0, :2] = math.log(3)  # the probability of the class is 3 / 4
    expected = 0.25 * -math.log(0.75) + 0.75 * math.log(2) + 2 * math.log(2)
    assert float(own.loss(scores, indices)) == pytest.approx(expected / 3)


def test_a_class_without_images_gets_those_of_others_as_what_they_are() -> None:
    own = _own([0, 1, 0, 1])
    (indices,) = own.batches(1)
    assert bool((own.images.labels[indices[2]] != 2).all())
    scores = torch.zeros(3, 5)
    scores[2] = -100.0  # certain that nothing shows the third class
    assert float(own.loss(scores, indices)) == pytest.approx(2 / 3 * math.log(2))
