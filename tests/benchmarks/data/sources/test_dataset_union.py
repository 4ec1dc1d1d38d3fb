"""Several data sets as one."""

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.cells import DatasetSpec
from benchmarks.data.datasets import check_dataset, load_dataset
from benchmarks.data.datasets.dataset import Dataset
from benchmarks.data.datasets.registry import open_dataset
from benchmarks.data.roles import make_roles
from benchmarks.data.sources.digits import DigitsSource
from benchmarks.data.sources.source import Location
from benchmarks.data.sources.union import UnionSource
from splitters.errors import ConfigurationError, DataError


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Write a data set of two classes with two training images and one test image each, and return its parent."""
    for part, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(("circle", "square")):
            for number in range(count):
                path = tmp_path / "shapes" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8, 3), 100 * label + number, dtype=np.uint8)).save(path)
    return tmp_path


def _load(name: str, root: Path) -> Dataset:
    return load_dataset(name, input_shape=(3, 8, 8), data_root=root, cache=root / "cache")


def test_a_union_holds_the_images_of_all_its_sets_under_classes_of_their_own(shapes: Path) -> None:
    union, digits, alone = (_load(name, shapes) for name in ("union:digits+folder:shapes", "digits", "folder:shapes"))
    assert union.class_names == (*(f"digits/{digit}" for digit in range(10)), "shapes/circle", "shapes/square")
    for joined, first, second in ((union.train, digits.train, alone.train), (union.test, digits.test, alone.test)):
        assert torch.equal(joined.images, torch.cat([first.images, second.images]))
        assert torch.equal(joined.labels, torch.cat([first.labels, second.labels + 10]))


def test_a_union_with_digits_is_not_mirrored(shapes: Path) -> None:
    assert not _load("union:digits+folder:shapes", shapes).flips
    assert _load("folder:shapes", shapes).flips


def test_a_changed_member_is_a_changed_union(shapes: Path) -> None:
    before = _load("union:digits+folder:shapes", shapes)
    Image.new("RGB", (8, 8), "red").save(shapes / "shapes" / "train" / "circle" / "0.png")
    after = _load("union:digits+folder:shapes", shapes)
    assert after.content_hash != before.content_hash
    assert after.train.images[-4].float().mean() != before.train.images[-4].float().mean()


def test_a_damaged_image_is_named_by_its_member(shapes: Path) -> None:
    damaged = shapes / "shapes" / "test" / "square" / "0.png"
    damaged.write_bytes(b"no image")
    with pytest.raises(DataError, match=str(damaged)):
        _load("union:digits+folder:shapes", shapes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("union:digits", r"'union:digits' joins two or more data sets, e\.g\. union:digits\+fashion_mnist"),
        ("union:digits+", r"joins two or more data sets"),
        ("union:digits+digits", r"holds 'digits' twice"),
        ("union:folder:shapes+folder:./shapes", r"holds 'folder:shapes' twice"),
        ("union:parquet:x:label=a+parquet:x:label=b", r"holds 'parquet:x' twice"),
        ("union:mnist+union:digits+folder:x:test=a", r"another union; write union:mnist\+digits\+folder:x:test=a\."),
    ],
)
def test_a_union_that_cannot_be_is_refused_by_its_name(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^suite\.yaml: data set .*{message}"):
        check_dataset(name, where="suite.yaml")


def test_sets_in_folders_of_the_same_name_are_told_apart_by_the_whole_path(shapes: Path) -> None:
    (shapes / "old").mkdir()
    (shapes / "shapes").rename(shapes / "old" / "v1")
    copytree(shapes / "old", shapes / "new")
    Image.new("RGB", (8, 8), "red").save(shapes / "new" / "v1" / "train" / "circle" / "0.png")
    names = _load("union:folder:old/v1+folder:new/v1", shapes).class_names
    assert names == ("old/v1/circle", "old/v1/square", "new/v1/circle", "new/v1/square")


def test_one_folder_by_two_paths_is_refused_before_images_are_read(shapes: Path) -> None:
    (shapes / "link").symlink_to(shapes / "shapes")
    for other in (str(shapes / "shapes"), "link", "link:train=train"):
        with pytest.raises(
            DataError, match=rf"'folder:shapes' and 'folder:{other}' are one folder; name each data set"
        ):
            open_dataset(f"union:folder:shapes+folder:{other}", Location(shapes, shapes / "cache", download=False))


def test_copies_of_one_data_set_are_refused(shapes: Path) -> None:
    copytree(shapes / "shapes", shapes / "copy")
    with pytest.raises(DataError, match=r"'shapes' and 'copy' hold the same images; name each data set once\."):
        _load("union:folder:shapes+digits+folder:copy", shapes)


def test_sets_of_one_name_and_two_kinds_are_told_apart_by_their_kinds() -> None:
    check_dataset("union:parquet:x+folder:x")
    union = UnionSource("", {name: DigitsSource() for name in ("digits", "folder:digits")})
    assert union.read().class_names[::10] == ("digits/0", "folder:digits/0")


def test_roles_and_classes_of_a_union_are_those_of_any_data_set(shapes: Path) -> None:
    union = _load("union:folder:shapes+digits", shapes).of_classes(("digits/3", "shapes/square", "digits/0"))
    roles = make_roles(union, DatasetSpec(name=union.name, images_per_class=10), seed=0)
    assert torch.bincount(roles.train.labels).tolist() == [8, 1, 8]
    assert torch.bincount(roles.select.labels).tolist() == [2, 1, 2]
    assert torch.bincount(roles.test.labels)[1] == 1
