"""Which modules count as dead on select."""

import pytest
import torch

from splitters.data import IMAGENET, ImageSet
from splitters.methods.mask_training.recorded_states import examine
from splitters.networks.inference import class_report


@pytest.mark.parametrize(("n_images", "dead"), [(1, [False, False]), (2, [True, False])])
def test_a_score_that_is_the_same_for_all_of_several_images_is_a_dead_module(n_images: int, dead: list[bool]) -> None:
    labels = torch.ones(n_images, dtype=torch.long)
    select = ImageSet(torch.zeros(n_images, 3, 4, 4, dtype=torch.uint8), labels, ("a", "b"), IMAGENET)
    scores = torch.stack([torch.zeros(n_images), torch.arange(1.0, n_images + 1)])
    assert examine(scores, select, class_report(labels, labels, 2)).dead.tolist() == dead
