"""parquet:FOLDER: which files hold which split, by their names, folders and numbers."""

from pathlib import Path

import pytest
from parquet_files import load_pets, write_images

from splitters.errors import DataError


@pytest.mark.parametrize(
    ("train", "test"), [("training", "testing"), ("train", "validation"), ("Train", "val"), ("train", "valid")]
)
@pytest.mark.parametrize(
    "layout",
    [
        "{split}.parquet",
        "{split}.PARQUET",
        "data/{split}-00000-of-00001-0a1b2c.parquet",
        "{split}/0000.parquet",
        "{split}.parquet/part-00000-0a1b2c-c000.snappy.parquet",
    ],
)
def test_splits_of_other_names_and_layouts_are_found(train: str, test: str, layout: str, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / layout.format(split=train), [0, 1, 1])
    write_images(tmp_path / "pets" / layout.format(split=test), [1, 0])
    pets = load_pets(tmp_path)
    assert (len(pets.train), len(pets.test)) == (3, 2)
    assert pets.warnings == ()


def test_validation_images_beside_a_test_set_are_left_out_with_a_warning(tmp_path: Path) -> None:
    for split in ("train", "test", "validation", "extra"):
        write_images(tmp_path / "pets" / f"{split}.parquet")
    assert load_pets(tmp_path).warnings == (
        "parquet:pets: 2 Parquet files are not read, being of other splits, e.g. extra.parquet.",
    )


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            ("train", "training", "test"),
            r"train and training may both be the train images; .* parquet:pets:train=train\.",
        ),
        (("train", "val", "valid"), r"val and valid may both be the test images; .* parquet:pets:test=val\."),
        (("train", "train_extra", "test"), r"train and train_extra may both be the train images"),
        (("train", "other"), r"no test\*\.parquet .* There is other, train; .* parquet:pets:test=SPLIT\."),
    ],
)
def test_ambiguous_and_absent_splits_are_refused_with_the_option_that_names_one(
    splits: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for split in splits:
        write_images(tmp_path / "pets" / f"{split}.parquet")
    with pytest.raises(DataError, match=message):
        load_pets(tmp_path)


@pytest.mark.parametrize("options", ["test=train", "train=test", "train=val:test=val"])
def test_one_split_cannot_be_both_the_train_and_the_test_images(options: str, tmp_path: Path) -> None:
    for split in ("train", "test", "val"):
        write_images(tmp_path / "pets" / f"{split}.parquet")
    with pytest.raises(
        DataError, match=r"would be both the train and the test images\. .* are test, train, val, as in"
    ):
        load_pets(tmp_path, f"parquet:pets:{options}")
    assert len(load_pets(tmp_path, "parquet:pets:train=test:test=train").train) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("train-00000-of-00003", "train-00002-of-00003"),
            r"1 of the 3 files of train missing: number 1, ",
        ),
        (("train-00001-of-00002",), r"1 of the 2 files of train missing: number 0, "),
        (("train-0", "train-1", "train-3"), r"missing: number 2, "),
        (("train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"), "are different exports of train"),
        (("train-00000-of-00001", "train"), "are different exports of train"),
        (("train-00000-of-00001", "train-0"), "are different exports of train"),
        (("train", "train-0"), "are different exports of train"),
        (("train-00000-of-00001-aa", "train-00000-of-00001-bb"), "are the same part of train"),
        (
            ("train-00005-of-00002", "train-00000-of-00002"),
            r"train-00005-of-00002\.parquet cannot be one of the 2 files",
        ),
        (("train-00000-of-00001", "data/train-00000-of-00001"), "both hold train; keep one of the two exports"),
    ],
)
def test_incomplete_and_doubled_exports_are_refused(files: tuple[str, ...], message: str, tmp_path: Path) -> None:
    for file in (*files, "test"):
        write_images(tmp_path / "pets" / f"{file}.parquet")
    with pytest.raises(DataError, match=message):
        load_pets(tmp_path)


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1, 2, 3)])
def test_complete_shards_are_read_in_order(numbers: tuple[int, ...], tmp_path: Path) -> None:
    for number in numbers:
        write_images(tmp_path / "pets" / f"train-{number:05}-of-00003.parquet", [number % 2, 1, 0])
    write_images(tmp_path / "pets" / "test.parquet")
    assert load_pets(tmp_path).train.labels[::3].tolist() == [number % 2 for number in numbers]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("plain_text/train.parquet", "plain_text"),
        ("default/train/0000.parquet", "default"),
        ("data/plain/train-00000-of-00001.parquet", "data/plain"),
    ],
)
def test_a_sub_folder_that_may_be_meant_is_named(file: str, folder: str, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / file)
    message = rf"There are Parquet files in {folder}; e\.g\. parquet:pets/{folder} names one"
    with pytest.raises(DataError, match=message):
        load_pets(tmp_path)
