"""Images in memory, and the task that is made of them."""

import pytest
import torch
from small_nets import Between

from splitters.data import IMAGENET, ImageSet, Normalisation
from splitters.errors import DataError
from splitters.methods.protocol import SplitTask


def _set(labels: list[int], names: tuple[str, ...] = ("a", "b")) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    data = torch.randint(0, 256, (len(labels), 3, 4, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(data, torch.tensor(labels, dtype=torch.int64), names)


def test_normalisation_is_that_of_the_formula() -> None:
    data = _set([0, 1]).images
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    found = IMAGENET(data)
    assert torch.allclose(found, (data.float() / 255 - mean) / std, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_all_images_in_order() -> None:
    image_set = _set([0, 1, 0, 1, 1])
    assert [len(batch) for batch in image_set.batches(2)] == [2, 2, 1]
    assert torch.equal(torch.cat(list(image_set.batches(2))), IMAGENET(image_set.images))
    batch, labels = image_set.batch(torch.tensor([4, 0]))
    assert torch.equal(batch, IMAGENET(image_set.images[[4, 0]]))
    assert labels.tolist() == [1, 0]


def test_a_subset_keeps_names_and_normalisation() -> None:
    image_set = _set([0, 1, 0])
    subset = image_set.subset(torch.tensor([2, 1]))
    assert torch.equal(subset.images, image_set.images[[2, 1]])
    assert (len(subset), subset.n_classes, subset.input_shape) == (2, 2, (3, 4, 5))
    assert subset.normalisation == image_set.normalisation
    assert torch.equal(subset.to("cpu").labels, subset.labels)


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_outside_the_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(DataError, match=rf"labels lie in \[{min(labels)}, {max(labels)}\], but there are 2 classes"):
        _set(labels)


@pytest.mark.usefixtures("unchecked_shapes")
def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 images but 1 labels"):
        ImageSet(_set([0, 1]).images, torch.tensor([0]), ("a", "b"))


@pytest.mark.parametrize(
    ("train", "select", "message"),
    [
        (_set([]), _set([0]), "there are 0 train and 1 select images"),
        (_set([0]), _set([]), "there are 1 train and 0 select images"),
        (_set([0]), _set([0], ("a", "c")), "train has the classes"),
        (_set([0], ("a",)), _set([0], ("a",)), "at least 2 classes; there is 1"),
    ],
)
def test_tasks_that_cannot_be_split_are_refused(train: ImageSet, select: ImageSet, message: str) -> None:
    with pytest.raises(DataError) as error:
        SplitTask(Between(lambda net, x: x), train, select, seed=0)
    assert message in str(error.value)


def test_a_task_traces_its_model_on_one_image_of_select() -> None:
    data = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    one = ImageSet(data, torch.tensor([0]), ("a", "b", "c", "d"), Normalisation((0.5,) * 3, (0.5,) * 3))
    task = SplitTask(Between(lambda net, x: x), one, one, seed=0)
    assert task.trace().input_shape == (3, 8, 8)
    assert task.n_classes == 4


def test_some_classes_can_be_taken_in_any_order() -> None:
    images = _set([0, 1, 2, 1, 0], ("a", "b", "c"))
    some = images.of_classes(("c", "b"))
    assert some.class_names == ("c", "b")
    assert some.labels.tolist() == [1, 0, 1]
    assert torch.equal(some.images, images.images[[1, 2, 3]])
    with pytest.raises(DataError, match="there are no images of 'x'; there are images of 'a', 'b', 'c'"):
        images.of_classes(("a", "x"))
