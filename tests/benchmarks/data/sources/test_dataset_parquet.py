"""parquet:FOLDER, Hugging Face's layout, and each thing that can be wrong with it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_files import STRUCT, class_metadata, load_pets, png, write_images

from splitters.errors import DataError


def test_structs_of_bytes_with_class_names(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet")
    write_images(tmp_path / "pets" / "test.parquet", [1, 0])
    pets = load_pets(tmp_path)
    assert pets.name == "parquet:pets"
    assert pets.class_names == ("cat", "dog")
    assert pets.flips
    assert pets.train.labels.tolist() == [0, 1, 0, 1]
    assert pets.train.images[:, 0, 2, 3].tolist() == [10, 20, 30, 40]
    assert pets.test.labels.tolist() == [1, 0]


def test_plain_bytes_fine_labels_and_several_files_in_data(tmp_path: Path) -> None:
    folder = tmp_path / "pets" / "data"
    for number, kind in enumerate((pa.binary(), pa.large_binary())):
        write_images(folder / f"train-0000{number}-of-00002.parquet", columns=("img", "fine_label"), kind=kind)
    write_images(folder / "test-00000-of-00001.parquet", columns=("img", "fine_label"))
    assert load_pets(tmp_path).train.labels.tolist() == [0, 1, 0, 1] * 2


@pytest.mark.parametrize("metadata", [{"other": "x"}, class_metadata("label", None)])
def test_classes_without_names_are_numbered_and_not_mirrored(metadata: dict[str, str], tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet", [2, 1, 0], metadata=metadata)
    pets = load_pets(tmp_path)
    assert pets.class_names == ("0", "1", "2")
    assert not pets.flips


@pytest.mark.parametrize("label", [3, 10**12])
def test_a_damaged_label_is_a_class_of_its_own_that_test_lacks(label: int, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    write_images(folder / "train-0.parquet", [0], metadata={"other": "x"})
    write_images(folder / "train-1.parquet", [1, label], metadata={"other": "x"})
    write_images(folder / "test.parquet", [0, 1], metadata={"other": "x"})
    with pytest.raises(DataError, match=rf"pets: test holds no image of class 2 \('{label}'\)"):
        load_pets(tmp_path)


def test_a_negative_label_stands_for_no_class(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet", [0, 1], metadata={"other": "x"})
    write_images(tmp_path / "pets" / "test.parquet", [0, -1], metadata={"other": "x"})
    _refuse(tmp_path, r"test\.parquet, row 1: the label -1 is outside the classes, which are 0 to 1 \(0, 1\)")


def _refuse(tmp_path: Path, message: str) -> None:
    for part in ("train", "test"):
        if not (tmp_path / "pets" / f"{part}.parquet").exists():
            write_images(tmp_path / "pets" / f"{part}.parquet")
    with pytest.raises(DataError, match=message):
        load_pets(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"there is no train\*\.parquet in .*pets, nor in its sub-folder data"):
        load_pets(tmp_path)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"parquet:pets: .* Type --data-root DIR"):
        load_pets(tmp_path)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "test.parquet"
    write_images(path)
    path.write_bytes(path.read_bytes()[:-20])
    _refuse(tmp_path, r"test\.parquet: it is no readable Parquet file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS pointer, not a Parquet file; .*lfs pull",
        ),
        ("<!DOCTYPE html><html>not found", "a web page, not a Parquet file"),
    ],
)
def test_what_lies_in_a_files_place_is_named(text: str, message: str, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet")
    (tmp_path / "pets" / "test.parquet").write_text(text)
    _refuse(tmp_path, rf"test\.parquet: it is {message}")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"path": ["a.png"], "label": [0]}), path)
    _refuse(
        tmp_path,
        r"train\.parquet: there is no column 'image' or 'img'; it has path, label\. .* parquet:pets:image=COLUMN\.",
    )


@pytest.mark.parametrize("labels", [[[0, 1]], [b"\xff\xfe"], [0.5], [" "], [float("nan")]])
def test_labels_that_are_no_classes_are_refused(labels: list[object], tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": [png(1)], "label": labels}), path)
    _refuse(
        tmp_path,
        r"train\.parquet(, row 0)?: the column 'label' (holds list<|holds bytes that|is no whole|is empty|is null)",
    )


def test_an_image_column_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), path)
    _refuse(tmp_path, r"train\.parquet: the column 'image' holds string; it must hold bytes, or a struct")


def test_a_null_label_is_named_by_its_row(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet", [0, 1, None, 1])
    _refuse(tmp_path, r"train\.parquet, row 2: the column 'label' is null")


def test_a_label_outside_the_classes_is_named_by_its_row_in_its_file(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train-0.parquet")
    write_images(tmp_path / "pets" / "train-1.parquet", [0, 7])
    write_images(tmp_path / "pets" / "test.parquet")
    with pytest.raises(DataError, match=r"train-1\.parquet, row 1: the label 7 is outside .* 0 to 1 \(cat, dog\)"):
        load_pets(tmp_path)


def test_a_corrupt_image_is_named_by_its_row_in_its_file(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train-0.parquet")
    write_images(tmp_path / "pets" / "train-1.parquet", [0, 1, 0], images=[png(1), png(2)[:40], png(3)])
    write_images(tmp_path / "pets" / "test.parquet")
    with pytest.raises(DataError, match=r"train-1\.parquet, row 1: the image cannot be decoded"):
        load_pets(tmp_path)


@pytest.mark.parametrize("kind", [STRUCT, pa.binary()])
def test_a_null_image_is_named_by_its_row(kind: pa.DataType, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet", [0, 1], images=[png(1), None], kind=kind)
    _refuse(tmp_path, r"train\.parquet, row 1: the column 'image' holds no bytes")


def test_a_null_struct_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "pets" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": pa.array([{"bytes": png(1)}, None], STRUCT), "label": [0, 1]}), path)
    write_images(tmp_path / "pets" / "test.parquet", metadata={"other": "x"})
    _refuse(tmp_path, r"train\.parquet, row 1: the column 'image' holds no bytes")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "test.parquet", [])
    _refuse(tmp_path, "pets: test holds no images; it needs some of every class")


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet", [1, 1])
    _refuse(tmp_path, r"pets: train holds no image of class 0 \('cat'\)")


def test_files_with_different_class_names_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "test.parquet", names=("dog", "cat"))
    _refuse(tmp_path, r"test\.parquet has the class names \('dog', 'cat'\), but .*train\.parquet")


@pytest.mark.parametrize("others", [(True, False), (False, True)])
def test_files_of_which_one_has_no_class_names_are_refused(others: tuple[bool, bool], tmp_path: Path) -> None:
    for part, named in zip(("train", "test"), others, strict=True):
        write_images(tmp_path / "pets" / f"{part}.parquet", metadata=None if named else {"other": "x"})
    has = ["the class names \\('cat', 'dog'\\)" if named else "no class names" for named in others]
    _refuse(tmp_path, rf"test\.parquet has {has[1]}, but .*train\.parquet has {has[0]}\.$")


@pytest.mark.parametrize("names", [{"0": "cat", "1": "dog"}, "cd", ["cat", " "], 2])
def test_class_names_that_are_no_list_of_names_are_refused(names: object, tmp_path: Path) -> None:
    feature = {"_type": "ClassLabel", "names": names}
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    write_images(tmp_path / "pets" / "train.parquet", metadata=metadata)
    _refuse(tmp_path, r"train\.parquet: the schema's 'huggingface' metadata names the classes of 'label' as .* a list")


def test_equal_class_names_are_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet", names=("cat", "cat"))
    _refuse(tmp_path, "pets: two classes are called 'cat'")


@pytest.mark.parametrize("text", ["{", "[]", '{"info": {"features": {}}}'])
def test_metadata_that_do_not_describe_the_labels_are_refused(text: str, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train.parquet", metadata={"huggingface": text})
    _refuse(
        tmp_path,
        r"train\.parquet: the schema's 'huggingface' metadata (is damaged|does not describe the column 'label')",
    )


def _write_labels(root: Path, train: object, test: object | None = None, *, column: str = "label") -> None:
    """Write two files, each with four grey images and the labels given, of any type."""
    for part, labels in (("train", train), ("test", train if test is None else test)):
        path = root / "pets" / f"{part}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = labels if isinstance(labels, pa.Array) else pa.array(labels)
        pq.write_table(pa.table({"image": [png(i) for i in range(len(array))], column: array}), path)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, 2, 3, 2], ("1", "2", "3")),
        ([40, 7, 7, 9], ("7", "9", "40")),
        ([1.0, 0.0, 2.0, 0.0], ("0", "1", "2")),
        (["dog", "cat", "dog", "cow"], ("cat", "cow", "dog")),
        (["10", "9", "9", "1"], ("1", "9", "10")),
        ([True, False, True, False], ("false", "true")),
        (pa.array(["b", "a", "b", "a"]).dictionary_encode(), ("a", "b")),
        (pa.array([b"b", b"a", b"b", b"a"]), ("a", "b")),
        (pa.array([3, 5, 3, 5], pa.uint8()), ("3", "5")),
        ([{"label": 4}, {"label": 2}, {"label": 4}, {"label": 2}], ("2", "4")),
        ([{"label": "b", "who": "x"}, {"label": "a", "who": "y"}] * 2, ("a", "b")),
        ([{"breed": "b"}, {"breed": "a"}] * 2, ("a", "b")),
    ],
)
def test_labels_of_many_types_become_sorted_classes(labels: object, names: tuple[str, ...], tmp_path: Path) -> None:
    _write_labels(tmp_path, labels)
    pets = load_pets(tmp_path)
    assert pets.class_names == names
    array = (labels if isinstance(labels, pa.Array) else pa.array(labels)).to_pylist()
    plain = [next(iter(label.values())) if isinstance(label, dict) else label for label in array]
    texts = [label.decode() if isinstance(label, bytes) else label for label in plain]
    texts = [
        str(label).lower() if isinstance(label, bool) else str(int(label)) if isinstance(label, float) else str(label)
        for label in texts
    ]
    assert [names[index] for index in pets.train.labels.tolist()] == texts


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    _write_labels(tmp_path, ["caf\u00e9", "cafe\u0301", "tea", "tea"], ["cafe\u0301", "tea"])
    pets = load_pets(tmp_path)
    assert pets.class_names == ("caf\u00e9", "tea")
    assert pets.train.labels.tolist() == [0, 0, 1, 1]


def test_class_names_of_the_metadata_are_composed(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet", names=("cafe\u0301", "tea"))
    assert load_pets(tmp_path).class_names == ("caf\u00e9", "tea")


def test_named_classes_without_any_image_are_left_out(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet", [3, 1], names=("ant", "bee", "cat", "dog"))
    pets = load_pets(tmp_path)
    assert pets.class_names == ("bee", "dog")
    assert pets.train.labels.tolist() == [1, 0]


def test_labels_of_different_types_are_refused(tmp_path: Path) -> None:
    _write_labels(tmp_path, [0, 1], ["0", "1"])
    _refuse(tmp_path, r"test\.parquet: the labels are strings, but those of .*train\.parquet are integers\.")


@pytest.mark.parametrize(
    "columns", [("img", "label"), ("jpg", "cls"), ("Image", "Label"), ("photo", "category"), ("data", "species")]
)
def test_columns_of_other_names_are_found(columns: tuple[str, str], tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet", columns=columns)
    assert load_pets(tmp_path).train.labels.tolist() == [0, 1, 0, 1]


def test_views_are_read_as_other_bytes(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([png(1), png(2)], pa.binary_view()), "label": [0, 1]})
    for part in ("train", "test"):
        (tmp_path / "pets").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "pets" / f"{part}.parquet")
    assert load_pets(tmp_path).train.images[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize("kind", [pa.null(), pa.int64(), pa.string()])
def test_a_shard_without_rows_fits_labels_of_every_type(kind: pa.DataType, tmp_path: Path) -> None:
    _write_labels(tmp_path, ["a", "b"])
    shards = [tmp_path / "pets" / f"train-{number}.parquet" for number in range(2)]
    (tmp_path / "pets" / "train.parquet").rename(shards[1])
    pq.write_table(pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], kind)}), shards[0])
    assert load_pets(tmp_path).train.labels.tolist() == [0, 1]


def _write_columns(root: Path, **columns: object) -> None:
    for part in ("train", "test"):
        path = root / "pets" / f"{part}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)


def test_the_only_class_label_of_the_metadata_is_the_label(tmp_path: Path) -> None:
    features = {"breed": {"_type": "ClassLabel", "names": ["pug", "tabby"]}, "owner": {"_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for part in ("train", "test"):
        table = pa.table({"image": [png(1), png(2)], "owner": [7, 7], "breed": [0, 1]})
        (tmp_path / "pets").mkdir(exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "pets" / f"{part}.parquet")
    assert load_pets(tmp_path).class_names == ("pug", "tabby")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"jpg": "image", "png": "image", "cls": "label"}, r"images may be in jpg or png; .* parquet:pets:image=jpg\."),
        ({"left": "image", "right": "image", "cls": "label"}, r"images may be in left or right; .*:image=left\."),
        ({"image": "image", "cls": "label", "target": "label"}, r"labels may be in cls or target; .*:label=cls\."),
        (
            {"image": "image", "breed": "label", "owner": "label"},
            r"no column 'label' or 'fine_label'; .*:label=COLUMN\.",
        ),
    ],
)
def test_an_ambiguous_column_is_refused_with_the_option_that_names_it(
    columns: dict[str, str], message: str, tmp_path: Path
) -> None:
    content: dict[str, list[object]] = {"image": [png(1), png(2)], "label": [0, 1]}
    _write_columns(tmp_path, **{name: content[kind] for name, kind in columns.items()})
    _refuse(tmp_path, message)


def test_options_in_the_name_settle_columns_and_splits(tmp_path: Path) -> None:
    struct = [{"breed": "pug", "owner": 4}, {"breed": "tabby", "owner": 3}]
    for split in ("early", "late"):
        path = tmp_path / "pets" / f"{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"left": [png(1), png(2)], "right": [png(3), png(4)], "about": struct}), path)
    name = "parquet:pets:image=right:label=about.breed:train=early:test=late"
    pets = load_pets(tmp_path, name)
    assert pets.name == name
    assert pets.class_names == ("pug", "tabby")
    assert pets.train.images[:, 0, 0, 0].tolist() == [3, 4]
    assert load_pets(tmp_path, name.replace("right", "left").replace("breed", "owner")).class_names == ("3", "4")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("image=nose", "there is no column 'nose'; it has image, label"),
        ("label=nose", "there is no column 'nose'; it has image, label"),
        ("label=image.size", "there is no field 'image.size'; 'image' holds struct"),
        ("test=nose", "there is no split 'nose'; there are test, train"),
    ],
)
def test_an_option_that_names_nothing_is_refused(option: str, message: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / f"{part}.parquet")
    with pytest.raises(DataError, match=message):
        load_pets(tmp_path, f"parquet:pets:{option}")
