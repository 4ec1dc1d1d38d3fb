"""Several data sets as one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.data.datasets import load_dataset
from benchmarks.data.datasets.dataset import Dataset
from benchmarks.data.datasets.registry import open_dataset
from benchmarks.data.sources.source import Location
from splitters.errors import DataError


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


@pytest.mark.parametrize("name", ["union:digits", "union:digits+digits", "union:folder:shapes+folder:./shapes"])
def test_a_union_of_fewer_than_two_sets_is_refused(name: str, shapes: Path) -> None:
    with pytest.raises(DataError, match="must join two or more different data sets"):
        open_dataset(name, Location(shapes, shapes, download=False))
