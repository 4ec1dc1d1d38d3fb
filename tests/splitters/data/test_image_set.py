"""Image sets and split tasks: what they hold and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_nets import Between

from splitters.data import IMAGENET, ImageSet, Normalisation
from splitters.errors import DataError
from splitters.methods.protocol import SplitTask


def _set(labels: list[int], names: tuple[str, ...] = ("a", "b")) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    data = torch.randint(0, 256, (len(labels), 3, 4, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(data, torch.tensor(labels, dtype=torch.int64), names, IMAGENET)


def test_normalisation_follows_the_formula() -> None:
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


def test_the_content_hash_depends_on_images_labels_classes_and_normalisation() -> None:
    base = _set([0, 1, 0])
    others = [
        replace(base, images=base.images.flip(0)),
        replace(base, labels=base.labels.flip(0) * 0),
        replace(base, class_names=("a", "b", "c")),
        replace(base, normalisation=Normalisation((0.5,) * 3, (0.5,) * 3)),
        base.subset(torch.arange(2)),
    ]
    assert len({base.content_hash, *(other.content_hash for other in others)}) == 6
    assert replace(base).content_hash == base.content_hash


def test_the_content_hash_is_computed_once_for_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    base = _set([0, 1])
    known = base.content_hash
    monkeypatch.delattr("splitters.data.image_set.hash_tensor")
    assert base.content_hash == known


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
def test_images_and_labels_must_be_equally_many() -> None:
    with pytest.raises(DataError, match="2 images but 1 labels"):
        ImageSet(_set([0, 1]).images, torch.tensor([0]), ("a", "b"), IMAGENET)


@pytest.mark.parametrize(
    ("train", "select", "message"),
    [
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


_BYTES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
_GREY = Normalisation((0.5,), (0.5,))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4"])
def test_labels_of_any_integer_type_are_taken(dtype: str) -> None:
    assert ImageSet(_BYTES, np.array([1, 0]).astype(dtype), ("a", "b"), IMAGENET).labels.tolist() == [1, 0]
    if dtype[0] != ">":
        labels = torch.tensor([1, 0], dtype=getattr(torch, dtype))
        assert ImageSet(torch.from_numpy(_BYTES), labels, ("a", "b"), IMAGENET).labels.dtype == torch.int64


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    "images",
    [
        _BYTES[::-1].copy()[::-1],
        np.asfortranarray(_BYTES),
        np.frombuffer(_BYTES.tobytes(), np.uint8).reshape(_BYTES.shape),
    ],
    ids=["reversed", "fortran", "read-only"],
)
def test_arrays_in_any_memory_order_are_taken(images: np.ndarray) -> None:
    assert torch.equal(ImageSet(images, np.array([0, 1]), ("a", "b"), IMAGENET).images, torch.from_numpy(_BYTES))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_reading_images_leaves_them_as_they_were(order: torch.memory_format) -> None:
    images = torch.from_numpy(_BYTES.copy()).contiguous(memory_format=order)
    first, second = (next(ImageSet(images, torch.tensor([0, 1]), ("a", "b"), IMAGENET).batches(2)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(images, torch.from_numpy(_BYTES))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": torch.rand(2, 3, 4, 5)},
            "images are uint8 .image, channel, height, width., not float32 .2, 3, 4, 5.",
        ),
        ({"images": np.random.default_rng(0).random((2, 3, 4, 5))}, "not float64 .2, 3, 4, 5."),
        ({"images": _BYTES.astype(np.int64)}, "not int64 .2, 3, 4, 5."),
        (
            {"images": _BYTES.transpose(0, 2, 3, 1)},
            r"not uint8 .2, 4, 5, 3.; channels come before height: images.permute",
        ),
        ({"images": _BYTES[0]}, "not uint8 .3, 4, 5."),
        ({"images": _BYTES[:0], "labels": np.array([], int)}, "at least one"),
        ({"images": _BYTES[:, :, :0]}, "at least one of at least one pixel"),
        (
            {"images": _BYTES[:, :1]},
            "the images have 1 channels, but their normalisation has 3; give a Normalisation with 1",
        ),
        ({"normalisation": _GREY}, "the images have 3 channels, but their normalisation has 1"),
        (
            {"normalisation": "imagenet"},
            "the normalisation is a splitters.Normalisation, not 'imagenet'; from_arrays takes",
        ),
        ({"normalisation": None}, "the normalisation is a splitters.Normalisation, not None"),
        ({"images": [[1]]}, "images are a tensor or a numpy array, .*, not a list"),
        ({"labels": [0, 1]}, "labels are a tensor or a numpy array, integers .image., not a list"),
        ({"labels": np.array([0.0, 1.0])}, "labels are integers .image., not float64 .2."),
        ({"labels": torch.tensor([False, True])}, "labels are integers .image., not bool .2."),
        ({"labels": torch.tensor([[0], [1]])}, "labels are integers .image., not int64 .2, 1."),
        ({"labels": np.array([0])}, "2 images but 1 labels"),
        ({"labels": np.array([0, 2])}, "labels lie in .0, 2., but there are 2 classes"),
        ({"labels": np.array([-1, 0], np.int8)}, "labels lie in .-1, 0., but there are 2 classes"),
        ({"labels": torch.tensor([0, 2], dtype=torch.uint16)}, "labels lie in .0, 2., but there are 2 classes"),
        ({"class_names": ()}, "but there are 0 classes"),
        ({"class_names": (0, 1)}, "class names are strings that are not empty; 0 is none"),
    ],
)
def test_invalid_image_sets_are_refused_in_one_line(change: dict[str, object], message: str) -> None:
    valid = {"images": _BYTES, "labels": np.array([0, 1]), "class_names": ("a", "b"), "normalisation": IMAGENET}
    with pytest.raises(DataError, match=message) as error:
        ImageSet(**{**valid, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5, 0.5)), ((), ()), ((0.5,), (0.0,)), ((0.5,), (-1.0,)), ((float("nan"),), (1.0,))]
)
def test_a_normalisation_needs_a_mean_and_a_positive_std_per_channel(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with pytest.raises(DataError, match="one finite mean and one positive std per image channel"):
        Normalisation(mean, std)


@pytest.mark.usefixtures("unchecked_shapes")
def test_floats_are_not_normalised_twice() -> None:
    with pytest.raises(DataError, match="only uint8 images are normalised, not float32"):
        IMAGENET(torch.rand(1, 3, 4, 5))


def test_class_names_are_kept_in_composed_form() -> None:
    images = ImageSet(torch.from_numpy(_BYTES), torch.tensor([0, 1]), ("cafe\u0301", "tea"), IMAGENET)
    assert images.class_names == ("caf\u00e9", "tea")
    assert images.of_classes(("tea", "cafe\u0301")).class_names == ("tea", "caf\u00e9")
