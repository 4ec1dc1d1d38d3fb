"""folder:FOLDER, a folder of image files per class."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.data.datasets import Dataset, load_dataset
from splitters.errors import DataError


def _write(root: Path, part: str, name: str, grey: int, file: str = "a.png") -> Path:
    path = root / part / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 4), grey).save(path)
    return path


def _write_all(root: Path) -> None:
    for part in ("train", "test"):
        for grey, name in ((200, "dog"), (100, "cat")):
            _write(root, part, name, grey)
            _write(root, part, name, grey + 1, "b.PNG")


def _load(root: Path, name: str = "folder:pets") -> Dataset:
    return load_dataset(name, input_shape=(3, 4, 4), data_root=root, cache=root / "cache")


def test_classes_are_the_folders_sorted_by_name(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    pets = _load(tmp_path)
    assert pets.class_names == ("cat", "dog")
    assert pets.train.labels.tolist() == [0, 0, 1, 1]
    assert pets.train.images[:, 1, 0, 0].tolist() == [100, 101, 200, 201]
    assert pets.flips


def test_a_path_of_its_own_needs_no_data_root(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    dataset = load_dataset(f"folder:{tmp_path / 'pets'}", input_shape=(1, 4, 4), data_root=None, cache=tmp_path / "c")
    assert len(dataset.test) == 4


def test_hidden_and_other_files_have_no_part(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "cat" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "pets" / "train" / ".cache").mkdir()
    assert len(_load(tmp_path).train) == 4


def test_an_absent_folder_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder:pets: .*pets nor pets is no folder\. Type --data-root DIR"):
        _load(tmp_path)


def test_an_absent_part_says_how_files_are_laid_out(tmp_path: Path) -> None:
    _write(tmp_path / "pets", "train", "cat", 1)
    with pytest.raises(DataError, match=r"test is no folder; image files are looked for as .*CLASS"):
        _load(tmp_path)


def test_a_part_without_class_folders_is_refused(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="train holds no folders; there must be one per class"):
        _load(tmp_path, "folder:flat")


def test_a_class_only_in_test_is_refused(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    _write(tmp_path / "pets", "test", "cow", 1)
    with pytest.raises(DataError, match=r"test.cow: 'cow' is no class of train, which has cat, dog"):
        _load(tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_empty_class_is_refused(part: str, tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    for file in (tmp_path / "pets" / part / "dog").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=rf"pets: {part} holds no image of class 1 \('dog'\)"):
        _load(tmp_path)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    (tmp_path / "pets" / "test" / "cat" / "b.PNG").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"test.cat.b\.PNG: the image cannot be decoded"):
        _load(tmp_path)
