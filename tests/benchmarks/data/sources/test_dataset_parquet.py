"""parquet:FOLDER, Hugging Face's layout, and each thing that can be wrong with it."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.data.datasets import Dataset, load_dataset
from splitters.errors import DataError

_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), grey).save(buffer, "PNG")
    return buffer.getvalue()


def _metadata(column: str, names: Sequence[str] | None) -> dict[str, str]:
    feature = {"_type": "ClassLabel", "names": list(names)} if names else {"_type": "Value", "dtype": "int64"}
    return {"huggingface": json.dumps({"info": {"features": {column: feature}}})}


def _write(
    path: Path,
    labels: Sequence[int | None] = (0, 1, 0, 1),
    *,
    images: Sequence[bytes | None] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    kind: pa.DataType = _STRUCT,
    names: Sequence[str] | None = ("cat", "dog"),
    metadata: dict[str, str] | None = None,
) -> None:
    images = [_png(10 * (i + 1)) for i in range(len(labels))] if images is None else images
    values = [{"bytes": image, "path": "x.png"} for image in images] if kind == _STRUCT else images
    table = pa.table({columns[0]: pa.array(values, kind), columns[1]: pa.array(labels, pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata or _metadata(columns[1], names)), path)


def _load(root: Path, name: str = "parquet:pets") -> Dataset:
    return load_dataset(name, input_shape=(1, 4, 4), data_root=root, cache=root / "cache")


def test_structs_of_bytes_with_class_names(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet")
    _write(tmp_path / "pets" / "test.parquet", [1, 0])
    pets = _load(tmp_path)
    assert pets.name == "parquet:pets"
    assert pets.class_names == ("cat", "dog")
    assert pets.flips
    assert pets.train.labels.tolist() == [0, 1, 0, 1]
    assert pets.train.images[:, 0, 2, 3].tolist() == [10, 20, 30, 40]
    assert pets.test.labels.tolist() == [1, 0]


def test_plain_bytes_fine_labels_and_several_files_in_data(tmp_path: Path) -> None:
    folder = tmp_path / "pets" / "data"
    for number, kind in enumerate((pa.binary(), pa.large_binary())):
        _write(folder / f"train-0000{number}-of-00002.parquet", columns=("img", "fine_label"), kind=kind)
    _write(folder / "test-00000-of-00001.parquet", columns=("img", "fine_label"))
    assert _load(tmp_path).train.labels.tolist() == [0, 1, 0, 1] * 2


@pytest.mark.parametrize("metadata", [{"other": "x"}, _metadata("label", None)])
def test_classes_without_names_are_numbered_and_not_mirrored(metadata: dict[str, str], tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write(tmp_path / "pets" / f"{part}.parquet", [2, 1, 0], metadata=metadata)
    pets = _load(tmp_path)
    assert pets.class_names == ("0", "1", "2")
    assert not pets.flips


@pytest.mark.parametrize("label", [3, 10**12])
def test_a_label_that_cannot_be_a_class_is_refused_and_not_counted_up_to(label: int, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    _write(folder / "train-0.parquet", [0], metadata={"other": "x"})
    _write(folder / "train-1.parquet", [1, label], metadata={"other": "x"})
    _write(folder / "test.parquet", [0, 1], metadata={"other": "x"})
    with pytest.raises(DataError, match=rf"train-1\.parquet, row 1: the label {label} cannot be a class of 3 images"):
        _load(tmp_path)


def _refuse(tmp_path: Path, message: str) -> None:
    for part in ("train", "test"):
        if not (tmp_path / "pets" / f"{part}.parquet").exists():
            _write(tmp_path / "pets" / f"{part}.parquet")
    with pytest.raises(DataError, match=message):
        _load(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"there is no train\*\.parquet in .*pets, nor in its sub-folder data"):
        _load(tmp_path)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"parquet:pets: .* Type --data-root DIR"):
        _load(tmp_path)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "test.parquet"
    _write(path)
    path.write_bytes(path.read_bytes()[:-20])
    _refuse(tmp_path, r"test\.parquet: it is no readable Parquet file")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet", columns=("photo", "label"))
    _refuse(tmp_path, r"train\.parquet: there is no column 'image' or 'img'; it has photo, label\.")


def test_a_label_column_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": [_png(1)], "label": ["cat"]}), path)
    _refuse(tmp_path, r"train\.parquet: the column 'label' holds string; it must hold integers")


def test_an_image_column_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), path)
    _refuse(tmp_path, r"train\.parquet: the column 'image' holds string; it must hold bytes, or a struct")


def test_a_null_label_is_named_by_its_row(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet", [0, 1, None, 1])
    _refuse(tmp_path, r"train\.parquet, row 2: the column 'label' is null")


def test_a_label_outside_the_classes_is_named_by_its_row_in_its_file(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train-0.parquet")
    _write(tmp_path / "pets" / "train-1.parquet", [0, 7])
    _write(tmp_path / "pets" / "test.parquet")
    with pytest.raises(DataError, match=r"train-1\.parquet, row 1: the label 7 is outside .* 0 to 1 \(cat, dog\)"):
        _load(tmp_path)


def test_a_corrupt_image_is_named_by_its_row_in_its_file(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train-0.parquet")
    _write(tmp_path / "pets" / "train-1.parquet", [0, 1, 0], images=[_png(1), _png(2)[:40], _png(3)])
    _write(tmp_path / "pets" / "test.parquet")
    with pytest.raises(DataError, match=r"train-1\.parquet, row 1: the image cannot be decoded"):
        _load(tmp_path)


@pytest.mark.parametrize("kind", [_STRUCT, pa.binary()])
def test_a_null_image_is_named_by_its_row(kind: pa.DataType, tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet", [0, 1], images=[_png(1), None], kind=kind)
    _refuse(tmp_path, r"train\.parquet, row 1: the column 'image' holds no bytes")


def test_a_null_struct_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": pa.array([{"bytes": _png(1)}, None], _STRUCT), "label": [0, 1]}), path)
    _write(tmp_path / "pets" / "test.parquet", metadata={"other": "x"})
    _refuse(tmp_path, r"train\.parquet, row 1: the column 'image' holds no bytes")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "test.parquet", [])
    _refuse(tmp_path, "pets: test holds no images; it needs some of every class")


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet", [1, 1])
    _refuse(tmp_path, r"pets: train holds no image of class 0 \('cat'\)")


def test_files_with_different_class_names_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "test.parquet", names=("dog", "cat"))
    _refuse(tmp_path, r"test\.parquet has the class names \('dog', 'cat'\), but .*train\.parquet")


def test_equal_class_names_are_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write(tmp_path / "pets" / f"{part}.parquet", names=("cat", "cat"))
    _refuse(tmp_path, "pets: two classes are called 'cat'")


@pytest.mark.parametrize("text", ["{", "[]", '{"info": {"features": {}}}'])
def test_metadata_that_do_not_describe_the_labels_are_refused(text: str, tmp_path: Path) -> None:
    _write(tmp_path / "pets" / "train.parquet", metadata={"huggingface": text})
    _refuse(tmp_path, r"train\.parquet: the schema's 'huggingface' metadata does not describe the column 'label'")
