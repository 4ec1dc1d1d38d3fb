"""The ways in which weak models are weak, and their tasks."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.patch_tasks import joined_task
from benchmarks.data.roles import Roles
from benchmarks.models import build_model
from benchmarks.training.weak_models import WEAK_KINDS, WeakSettings, differs_per_target, weak_recipe
from splitters.data import IMAGENET, ImageSet
from splitters.errors import ConfigurationError, DataError

STRONG = ModelSpec(name="rescnn", settings={"width": 0.25, "dropout": 0.3})
RECIPE = TrainingSpec(epochs=9, momentum=0.9)


def image_set(n: int, names: tuple[str, ...], seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(n) % len(names), names, IMAGENET)


def roles(names: tuple[str, ...] = ("ant", "bee", "cat"), seed: int = 0) -> Roles:
    return Roles(*(image_set(n, names, seed + place) for place, n in enumerate((60, 30, 30))))


def recipe(kind: str, **settings: object) -> object:
    return weak_recipe(WeakSettings(weak_kind=kind, **settings), STRONG, RECIPE, roles(), target=1, seed=0)


def test_an_over_simple_network_has_a_few_convolutions_of_the_strong_ones_width() -> None:
    made = recipe("over_simple", convolutions=2)
    network = build_model(made.model, n_classes=3, input_shape=(3, 8, 8), seed=0)
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 16]
    assert made.training == RECIPE
    assert made.roles.train.labels.tolist() == roles().train.labels.tolist()


def test_over_and_under_fitted_networks_are_trained_without_regularisation_or_momentum() -> None:
    over, under = recipe("over_fitted").training, recipe("under_fitted", early=1 / 3).training
    assert (over.epochs, under.epochs) == (9, 3)
    for training in (over, under):
        assert (training.momentum, training.weight_decay, training.flip, training.crop_padding) == (0, 0, False, 0)
        assert training.keep == "last"
        assert training.dropout is False
    assert recipe("over_fitted").model == STRONG


def test_few_images_leaves_out_images_of_the_target_class_only() -> None:
    train = recipe("few_images", target_share=0.25).roles.train
    assert torch.bincount(train.labels).tolist() == [20, 5, 20]
    assert recipe("few_images").roles.select.labels.tolist() == roles().select.labels.tolist()


def test_label_noise_changes_labels_of_the_target_class_only() -> None:
    before, after = roles().train, recipe("label_noise", target_share=0.25).roles.train
    assert torch.equal(after.images, before.images)
    changed = after.labels != before.labels
    assert before.labels[changed].unique().tolist() == [1]
    assert int(changed.sum()) == 15
    assert set(after.labels[changed].tolist()) == {0, 2}


@pytest.mark.parametrize("kind", WEAK_KINDS)
def test_each_kind_is_reproducible(kind: str) -> None:
    one, other = recipe(kind), recipe(kind)
    assert (one.model, one.training) == (other.model, other.training)
    assert torch.equal(one.roles.train.labels, other.roles.train.labels)
    assert torch.equal(one.roles.train.images, other.roles.train.images)
    assert differs_per_target(WeakSettings(weak_kind=kind)) == (kind in ("few_images", "label_noise"))


def test_a_joined_task_has_some_classes_of_one_set_and_one_of_the_other() -> None:
    weak, strong = roles(), roles(("cat", "dog", "elk", "fox"), seed=9)
    task = joined_task(weak, ("cat", "ant"), strong, "elk", train_images=6, test_images=3, seed=0)
    assert task.train.class_names == task.select.class_names == task.test.class_names == ("cat", "ant", "elk")
    assert torch.bincount(task.train.labels).tolist() == [20, 20, 6]
    assert torch.bincount(task.select.labels).tolist() == [10, 10, 3], "the same share as of train: 6 of 15"
    assert torch.bincount(task.test.labels).tolist() == [10, 10, 3]
    theirs = strong.train.images[strong.train.labels == 2].flatten(1).tolist()
    assert all(image in theirs for image in task.train.images[task.train.labels == 2].flatten(1).tolist())


def test_names_that_clash_or_are_unknown_are_refused() -> None:
    weak, strong = roles(), roles(("cat", "dog"), seed=9)
    with pytest.raises(ConfigurationError, match="'cat' is also the name"):
        joined_task(weak, ("cat",), strong, "cat", train_images=None, test_images=None, seed=0)
    with pytest.raises(DataError, match="there are no images of 'gnu'"):
        joined_task(weak, ("gnu",), strong, "dog", train_images=None, test_images=None, seed=0)
