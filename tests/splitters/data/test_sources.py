"""Image sets from folders, torch data sets and arrays: pixels, labels, names, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from splitters.data import IMAGENET, ImageSet, Normalisation
from splitters.errors import DataError

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

_GREY = Normalisation((0.5,), (0.5,))


def _pixels(count: int = 4, channels: int = 3, size: int = 5) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _folder(root: Path, *files: str, size: int = 5) -> list[np.ndarray]:
    pixels = _pixels(len(files), size=size)
    for file, image in zip(files, pixels, strict=True):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / file, format="PNG")
    return list(pixels)


class _Column:
    """What a table's column (pandas) is to NumPy: an array of objects, which is neither true nor false."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype=object)

    def __iter__(self) -> Iterator[object]:
        return iter(self._values)

    def __bool__(self) -> bool:
        raise ValueError("the truth value of a column is ambiguous")


class _Pictures(Dataset):
    classes = ("cat", "dog")

    def __init__(self, images: list[object]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, int]:
        if index >= len(self):
            raise IndexError
        return self.images[index], index % 2


def test_a_folder_per_class_is_read_with_its_sub_folders_in_order_of_names(tmp_path: Path) -> None:
    dog, inner, cat = _folder(tmp_path, "dog/1.png", "dog/more/2.jfif", "cat/1.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    images = ImageSet.from_folder(tmp_path, normalisation="imagenet")
    assert images.class_names == ("cat", "dog")
    assert images.labels.tolist() == [0, 1, 1]
    assert images.normalisation == IMAGENET
    for found, expected in zip(images.images, (cat, dog, inner), strict=True):
        assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_files_of_a_folder_that_are_not_read_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _folder(tmp_path, "cat/1.png", "cat/2.jpe", "loose.png")
    (tmp_path / "cat" / "raw.heic").write_text("no image")
    assert len(ImageSet.from_folder(tmp_path, normalisation="imagenet")) == 2
    assert caplog.messages == [f"{tmp_path}: 2 files are not read (1 .heic, 1 .png), e.g. cat/raw.heic."]


def test_folders_and_class_names_agree_in_any_unicode_form(tmp_path: Path) -> None:
    _folder(tmp_path, "cafe\u0301/1.png", "zoo/1.png")
    images = ImageSet.from_folder(tmp_path, normalisation="none", class_names=["zoo", "caf\u00e9"])
    assert (images.class_names, images.labels.tolist()) == (("zoo", "caf\u00e9"), [0, 1])


def test_class_names_give_the_order_of_a_folders_classes(tmp_path: Path) -> None:
    _folder(tmp_path, "dog/1.png", "cat/1.png")
    images = ImageSet.from_folder(tmp_path, normalisation="none", class_names=np.array(["dog", "cat"]))
    assert (images.class_names, images.labels.tolist()) == (("dog", "cat"), [0, 1])


def test_a_grey_normalisation_makes_a_folders_pictures_grey(tmp_path: Path) -> None:
    _folder(tmp_path, "dog/1.png", "cat/1.png")
    images = ImageSet.from_folder(tmp_path, normalisation=_GREY)
    expected = np.asarray(Image.open(tmp_path / "cat/1.png").convert("L"))
    assert np.array_equal(images.images[0, 0].numpy(), expected)


def test_one_coloured_picture_makes_a_folders_images_coloured(tmp_path: Path) -> None:
    _folder(tmp_path, "cat/2.png", "dog/1.png")
    grey = Image.fromarray(_pixels(1)[0]).convert("L")
    grey.save(tmp_path / "cat" / "1.png")
    images = ImageSet.from_folder(tmp_path, normalisation="none")
    assert images.input_shape == (3, 5, 5)
    assert np.array_equal(images.images[0].numpy(), np.asarray(grey)[None].repeat(3, 0))
    for file in tmp_path.glob("*/*.png"):
        grey.save(file)
    assert ImageSet.from_folder(tmp_path, normalisation="none").input_shape == (1, 5, 5)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_files_of_several_pictures_are_reported_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _folder(tmp_path, "cat/1.png", "dog/1.png")
    first, second = (Image.new("RGB", (5, 5), colour) for colour in ("red", "blue"))
    for folder in ("cat", "dog"):
        settings = {"lossless": True} if kind == "WEBP" else {}
        first.save(tmp_path / folder / f"2.{kind.lower()}", kind, save_all=True, append_images=[second], **settings)
    images = ImageSet.from_folder(tmp_path, normalisation="imagenet")
    name = f"2.{kind.lower()}"
    assert caplog.messages == [
        f"{tmp_path}: 2 files hold several pictures, of which the first is read, e.g. cat/{name}."
    ]
    assert images.images[1, :, 0, 0].tolist() == [255, 0, 0]


def test_pictures_of_32_bit_integers_are_refused_and_those_of_16_bits_scaled(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    pixels = np.array([[0, 257 * 100], [257 * 200, 65535]])
    for suffix in ("ppm", "png", "tif"):
        file = tmp_path / "cat" / f"1.{suffix}"
        Image.fromarray(pixels.astype(np.uint16)).save(file)
        images = ImageSet.from_folder(tmp_path, normalisation="none")
        assert images.images.tolist() == [[[[0, 100], [200, 255]]]]
        file.unlink()
    Image.fromarray(pixels.astype(np.int32) // 257).save(tmp_path / "cat" / "1.tif")
    with pytest.raises(DataError, match="32-bit integer pixels, whose range is unknown; give 8 or 16 bits"):
        ImageSet.from_folder(tmp_path, normalisation="none")


def test_pictures_are_turned_upright_and_stand_on_white(tmp_path: Path) -> None:
    turned, clear = Image.new("RGB", (4, 2), "black"), Image.new("RGBA", (2, 4), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in (("a", turned), ("b", clear)):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "1.png", exif=exif if name == "a" else None)
    images = ImageSet.from_folder(tmp_path, normalisation="imagenet")
    assert images.input_shape == (3, 4, 2)
    assert [int(image.min()) for image in images.images] == [0, 255]


def test_a_folder_of_different_sizes_needs_a_size(tmp_path: Path) -> None:
    _folder(tmp_path, "dog/1.png")
    _folder(tmp_path, "cat/1.png", size=7)
    with pytest.raises(DataError, match=r"dog.1\.png has 5 x 5 pixels, but .*cat.1\.png 7 x 7; give size="):
        ImageSet.from_folder(tmp_path, normalisation="imagenet")
    assert ImageSet.from_folder(tmp_path, normalisation="imagenet", size=(3, 4)).input_shape == (3, 3, 4)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("cat",), "has the folders 'cat', 'dog', but the classes are 'cat'"), (None, "no image files in 'cat'")],
)
def test_folders_that_do_not_fit_the_classes_are_refused(
    tmp_path: Path, names: tuple[str, ...] | None, message: str
) -> None:
    _folder(tmp_path, "dog/1.png")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=message):
        ImageSet.from_folder(tmp_path, normalisation="imagenet", class_names=names)


@pytest.mark.parametrize("kind", ["pil", "uint8", "float", "array"])
def test_a_data_set_of_any_images_gives_the_same_pixels(kind: str) -> None:
    pixels = _pixels()
    make = {
        "pil": Image.fromarray,
        "uint8": lambda image: torch.from_numpy(image).permute(2, 0, 1),
        "float": lambda image: torch.from_numpy(image).permute(2, 0, 1) / 255,
        "array": lambda image: image,
    }[kind]
    images = ImageSet.from_dataset(_Pictures([make(image) for image in pixels]), normalisation="imagenet")
    assert np.array_equal(images.images.permute(0, 2, 3, 1).numpy(), pixels)
    assert (images.class_names, images.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 1])


def test_a_subset_keeps_its_data_sets_class_names() -> None:
    whole = _Pictures([Image.fromarray(image) for image in _pixels()])
    images = ImageSet.from_dataset(Subset(whole, [0, 2]), normalisation="imagenet")
    assert (images.class_names, images.labels.tolist()) == (("cat", "dog"), [0, 0])
    renamed = ImageSet.from_dataset(whole, normalisation="imagenet", class_names=np.array(["Katze", "Hund"]))
    assert renamed.class_names == ("Katze", "Hund")


def test_a_pair_or_a_tensor_data_set_without_names_counts_its_classes() -> None:
    images, labels = torch.from_numpy(_pixels()).permute(0, 3, 1, 2), torch.tensor([0, 2, 1, 0])
    for dataset in ((images, labels), TensorDataset(images, labels)):
        found = ImageSet.from_dataset(dataset, normalisation="none")
        assert torch.equal(found.images, images)
        assert (found.class_names, found.labels.tolist()) == (("0", "1", "2"), labels.tolist())
        assert found.normalisation == Normalisation((0.0,) * 3, (1.0,) * 3)


def test_arrays_have_channels_first_last_or_none() -> None:
    pixels = _pixels()
    for images, channels in ((pixels, 3), (pixels.transpose(0, 3, 1, 2), 3), (pixels[..., 0], 1)):
        found = ImageSet.from_arrays(images, [0, 1, 0, 1], normalisation="none")
        assert found.input_shape == (channels, 5, 5)
        assert np.array_equal(found.images[:, 0].numpy(), pixels[..., 0])


def test_transparent_pixels_of_arrays_become_white() -> None:
    clear = np.concatenate([_pixels(2), np.array([0, 255], np.uint8)[:, None, None, None].repeat(5, 1).repeat(5, 2)], 3)
    found = ImageSet.from_arrays(clear, [0, 1], normalisation="none")
    assert found.input_shape == (3, 5, 5)
    assert found.images[0].unique().tolist() == [255]
    assert np.array_equal(found.images[1].permute(1, 2, 0).numpy(), clear[1, ..., :3])
    grey = ImageSet.from_arrays(clear[..., 2:], [0, 1], normalisation="none")
    assert grey.input_shape == (1, 5, 5)
    assert grey.images[0].unique().tolist() == [255]
    channels_first = ImageSet.from_arrays(clear.transpose(0, 3, 1, 2), [0, 1], normalisation="none")
    assert channels_first.input_shape == (4, 5, 5)


def test_labels_may_be_names() -> None:
    found = ImageSet.from_arrays(_pixels(3), ["dog", "cat", "dog"], normalisation="none")
    assert (found.class_names, found.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    given = ImageSet.from_arrays(_pixels(2), ["dog", "cat"], normalisation="none", class_names=["dog", "cat", "eel"])
    assert (given.class_names, given.labels.tolist()) == (("dog", "cat", "eel"), [0, 1])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["dog", "cat", "dog"], dtype=object),
        np.array([b"dog", b"cat", b"dog"]),
        [b"dog", b"cat", b"dog"],
        _Column(["dog", "cat", "dog"]),
    ],
)
@pytest.mark.parametrize("names", [None, ["cat", "dog"], np.array(["cat", "dog"]), _Column(["cat", "dog"])])
def test_names_as_labels_come_in_any_array(labels: object, names: object) -> None:
    found = ImageSet.from_arrays(_pixels(3), labels, normalisation="none", class_names=names)
    assert (found.class_names, found.labels.tolist()) == (("cat", "dog"), [1, 0, 1])


def test_numbers_as_labels_come_in_any_array() -> None:
    floats, truths = torch.tensor([1.0, 0.0, 1.0]), [True, False, True]
    for labels in (np.array([1, 0, 1], dtype=object), _Column([1, 0, 1]), floats, truths):
        found = ImageSet.from_arrays(_pixels(3), labels, normalisation="none")
        assert (found.class_names, found.labels.tolist()) == (("0", "1"), [1, 0, 1])


@pytest.mark.parametrize("names", [None, ["caf\u00e9"], ["cafe\u0301"]])
def test_labels_and_class_names_agree_in_any_unicode_form(names: list[str] | None) -> None:
    found = ImageSet.from_arrays(_pixels(2), ["cafe\u0301", "caf\u00e9"], normalisation="none", class_names=names)
    assert (found.class_names, found.labels.tolist()) == (("caf\u00e9",), [0, 0])


def test_labels_of_a_data_set_may_be_arrays_of_one_number() -> None:
    images = torch.from_numpy(_pixels(2)).permute(0, 3, 1, 2)
    found = ImageSet.from_dataset(TensorDataset(images, torch.tensor([[1], [0]])), normalisation="none")
    assert found.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"the label of image 0 is int64 \[3\], not one number; .*label.argmax\(\)"):
        ImageSet.from_dataset(TensorDataset(images, torch.eye(3, dtype=torch.int64)[:2]), normalisation="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normalisation": "imagenet", "images": _pixels(channels=1)},
            "images have 1 channels, .* normalisation has 3",
        ),
        ({"normalisation": "mnist"}, "not 'mnist'"),
        ({"images": IMAGENET(torch.from_numpy(_pixels()).permute(0, 3, 1, 2))}, "leave the normalisation out"),
        ({"labels": [1, 2, 3, 4], "class_names": "abcd"}, r"labels lie in \[1, 4\], .* counted from 0; subtract 1"),
        ({"labels": [0.0, 1.0, 0.5, 1.0]}, "labels are integers or names"),
        ({"labels": [0.0, 1.0, float("nan"), 1.0]}, "labels are integers or names"),
        (
            {"class_names": {"b": 1, "a": 0}},
            "class_names are a list or a tuple, in the order of the labels, not a dict",
        ),
        ({"class_names": {"a", "b"}}, "class_names are a list or a tuple, in the order of the labels, not a set"),
        ({"class_names": ["a", " "]}, "class names are strings that are not empty; ' ' is none"),
        ({"labels": list("abca"), "class_names": "ab"}, "the labels 'c' are no classes; these are 'a', 'b'"),
        ({"class_names": ["a", "b", "a"]}, "the class name 'a' occurs twice"),
        ({"labels": [0, 1]}, "4 images but 2 labels"),
        ({"labels": np.zeros(0, np.int64)}, r"labels are integers or names \[image\], not int64 \[0\]"),
        ({"labels": np.eye(4)}, r"not float64 \[4, 4\]; of rows with an entry per class, give labels.argmax\(1\)"),
        ({"labels": [[0], [1, 2]]}, "labels are integers or names .image., one for each image"),
        ({"labels": None}, r"labels are integers or names \[image\], not object \[\]"),
        ({"labels": ["a", None, "a", "b"]}, r"labels are integers or names \[image\], not object \[4\]"),
        ({"labels": [b"a", b"\xff", b"a", b"b"]}, r"the name b'\\xff' is no text in UTF-8"),
        (
            {"images": [np.zeros((5, 5), np.uint8), np.zeros((6, 5), np.uint8)]},
            r"the images are of different sizes, such as \[5, 5\] and \[6, 5\]; resize all to one",
        ),
        ({"images": [torch.zeros(3, 5, 5), torch.zeros(3, 6, 5)]}, r"such as \[3, 5, 5\] and \[3, 6, 5\]"),
        ({"images": ["a.png"]}, "images are arrays or tensors of numbers, not a list"),
    ],
)
def test_what_is_no_labelled_image_is_refused_in_one_line(change: dict[str, object], message: str) -> None:
    parts = {"images": _pixels(), "labels": [0, 1, 0, 1], "normalisation": "none", **change}
    with pytest.raises(DataError, match=message) as error:
        ImageSet.from_arrays(**parts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (None, "a data set is a torch Dataset or .images, labels., not None"),
        (TensorDataset, "not <class"),
        ([(np.zeros((4, 4)), 0, 1)], "item 0 of the data set is no .image, label. but a tuple of 3"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(dataset: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.from_dataset(dataset, normalisation="none")


def test_the_normalisation_must_be_said() -> None:
    with pytest.raises(TypeError, match="normalisation"):
        ImageSet.from_arrays(_pixels(), [0, 1, 0, 1])
    with pytest.raises(TypeError, match="normalisation"):
        ImageSet(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.tensor([0]), ("a",))
