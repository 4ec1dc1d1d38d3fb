"""folder:FOLDER, a folder of image files per class."""

from pathlib import Path

import pytest
import torch
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


def test_every_format_that_is_read_counts_as_an_image(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    for suffix in ("jfif", "jpe", "JPEG", "tif", "pbm", "jp2", "avif"):
        path = tmp_path / "pets" / "train" / "cat" / f"c.{suffix}"
        Image.new("1" if suffix == "pbm" else "L", (5, 4)).save(path)
    pets = _load(tmp_path)
    assert torch.bincount(pets.train.labels).tolist() == [9, 2]
    assert pets.warnings == ()


def test_images_in_sub_folders_of_a_class_are_read(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    _write(tmp_path / "pets", "train", "cat/young/2024", 50)
    (tmp_path / "pets" / "train" / "cat" / "young" / "loop").symlink_to(tmp_path / "pets" / "train" / "cat")
    (tmp_path / "other").mkdir()
    Image.new("L", (5, 4), 60).save(tmp_path / "other" / "linked.png")
    (tmp_path / "pets" / "train" / "cat" / "linked").symlink_to(tmp_path / "other")
    assert _load(tmp_path).train.images[:4, 0, 0, 0].tolist() == [100, 101, 60, 50]


def test_skipped_files_are_counted_in_one_warning(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    for name in ("train/cat/a.heic", "train/cat/young/b.heic", "train/notes.txt", "train/stray.png", "val/cat/c.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert _load(tmp_path).warnings == (
        "folder:pets: 5 files are not read (2 .heic, 2 .png, 1 .txt), e.g. train/cat/a.heic.",
    )


def test_a_link_to_what_is_gone_is_counted_in_the_warning(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    for name in ("train/cat/gone.png", "train/bird"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "nothing")
    assert _load(tmp_path).warnings == ("folder:pets: 2 files are not read (1 no suffix, 1 .png), e.g. train/bird.",)


def test_classes_may_be_in_the_only_folder_of_a_part(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    expected = _load(tmp_path)
    for part in ("train", "test"):
        (tmp_path / "pets" / part).rename(tmp_path / "moved")
        (tmp_path / "pets" / part).mkdir()
        (tmp_path / "moved").rename(tmp_path / "pets" / part / part)
    pets = _load(tmp_path)
    assert pets.content_hash == expected.content_hash
    assert pets.warnings == ()


def test_files_of_several_pictures_are_counted_in_one_warning(tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    for file in ("train/cat/young/a.gif", "test/dog/b.TIFF", "train/c.gif"):
        path = tmp_path / "pets" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4)).save(path, save_all=True, append_images=[Image.new("L", (5, 4), 255)])
    Image.new("L", (5, 4)).save(tmp_path / "pets" / "train" / "cat" / "one.gif")
    assert _load(tmp_path).warnings == (
        "folder:pets: 1 file is not read (1 .gif), e.g. train/c.gif.",
        "folder:pets: 2 files hold several pictures, of which the first is read, e.g. train/cat/young/a.gif.",
    )


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    for part, name, grey in (
        ("train", "caf\u00e9", 1), ("train", "cafe\u0301", 2), ("train", "tea", 3), ("test", "cafe\u0301", 4),
        ("test", "tea", 5),
    ):  # fmt: skip
        _write(tmp_path / "pets", part, name, grey)
    pets = _load(tmp_path)
    assert pets.class_names == ("caf\u00e9", "tea")
    assert pets.train.labels.tolist() == [0, 0, 1]
    assert pets.test.labels.tolist() == [0, 1]
    assert len(pets.of_classes(("tea", "cafe\u0301")).test) == 2


@pytest.mark.parametrize(
    ("train", "test", "name"),
    [
        ("training", "testing", "folder:pets"),
        ("Train", "val", "folder:pets"),
        ("train", "validation", "folder:pets"),
        ("early", "late", "folder:pets:train=early:test=late"),
    ],
)
def test_folders_of_other_names_are_found(train: str, test: str, name: str, tmp_path: Path) -> None:
    for part in (train, test):
        for label in ("cat", "dog"):
            _write(tmp_path / "pets", part, label, 9)
    assert len(_load(tmp_path, name).test) == 2


@pytest.mark.parametrize(("option", "split"), [("test=train", "train"), ("train=test", "test")])
def test_one_folder_cannot_be_both_the_train_and_the_test_images(option: str, split: str, tmp_path: Path) -> None:
    _write_all(tmp_path / "pets")
    message = rf"'{split}' would be both the train and .* are test, train, as in folder:pets:.*=SPLIT.*\."
    with pytest.raises(DataError, match=message):
        _load(tmp_path, f"folder:pets:{option}")


def test_folders_that_may_both_be_meant_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        _write(tmp_path / "pets", part, "cat", 9)
    with pytest.raises(DataError, match=r"val and valid may both be the test images; .* folder:pets:test=val\."):
        _load(tmp_path)


def test_a_relative_folder_is_looked_for_in_the_data_root_beside_the_suite_and_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for grey, base in enumerate(("here", "suites", "data")):
        for part in ("train", "test"):
            _write(tmp_path / base / "pets", part, "cat", grey)
    monkeypatch.chdir(tmp_path / "here")

    def grey_of(data_root: Path | None, suite_folder: Path | None) -> int:
        dataset = load_dataset(
            "folder:pets", input_shape=(1, 4, 4), data_root=data_root, cache=tmp_path / "c", suite_folder=suite_folder
        )
        return int(dataset.train.images[0, 0, 0, 0])

    assert grey_of(None, None) == 0
    assert grey_of(None, tmp_path / "suites") == 1
    assert grey_of(tmp_path / "data", tmp_path / "suites") == 2
    assert grey_of(tmp_path, tmp_path / "suites") == 1


def test_a_folder_may_be_named_from_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "test"):
        _write(tmp_path / "my pets", part, "cat", 7)
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "folder:~/my pets"
    dataset = load_dataset(name, input_shape=(1, 4, 4), data_root=tmp_path / "elsewhere", cache=tmp_path / "c")
    assert int(dataset.train.images[0, 0, 0, 0]) == 7


def test_an_absent_folder_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder:pets: .*pets nor .*pets is no folder\. Type --data-root DIR"):
        _load(tmp_path)


def test_an_absent_part_says_how_files_are_laid_out(tmp_path: Path) -> None:
    _write(tmp_path / "pets", "train", "cat", 1)
    with pytest.raises(DataError, match=r"test is no folder; .*CLASS.* has 'train'; .* folder:pets:test=FOLDER"):
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
