"""Cell ids."""

from __future__ import annotations

import hashlib

import pytest

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, content_hash


def cell(seed: int = 0) -> Cell:
    return Cell(
        splitter=SplitterSpec(name="full"),
        model=ModelSpec(name="simcnn"),
        dataset=DatasetSpec(name="digits"),
        seed=seed,
    )


def test_equal_cells_have_one_id_and_a_changed_copy_has_another() -> None:
    first = cell()
    assert first.cell_id == cell().cell_id == Cell.model_validate_json(first.model_dump_json()).cell_id
    assert first.model_copy().cell_id == first.cell_id
    assert first.model_copy(update={"seed": 1}).cell_id == cell(seed=1).cell_id != first.cell_id
    assert first.with_seed(7) == cell(seed=7)
    assert first.with_seed(7).cell_id == cell(seed=7).cell_id


def test_a_seed_fits_into_the_rows_64_bits() -> None:
    assert cell(seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ValueError, match="less than 9223372036854775808"):
        cell(seed=2**63)


def test_configurations_of_rows_with_a_protocol_are_read_and_keep_their_ids() -> None:
    text = cell().model_dump_json()
    former = text[:-1] + ',"protocol":"splitbench"}'
    assert Cell.model_validate_json(former).cell_id == cell().cell_id
    # Recorded while the field existed.
    assert cell().cell_id == "c808627f8b79935ad43e98c394579a94486d842b271117049867e05394a87020"
    with pytest.raises(ValueError, match="protocol"):
        Cell.model_validate_json(former.replace("splitbench", "published"))


def test_a_hash_is_that_of_canonical_json() -> None:
    assert content_hash({"b": [1, 2.5], "a": "ä"}) == hashlib.sha256(rb'{"a":"\u00e4","b":[1,2.5]}').hexdigest()
    assert content_hash({"a": "ä", "b": [1, 2.5]}) == content_hash({"b": [1, 2.5], "a": "ä"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_hash({"a": float("nan")})


def test_a_choice_of_classes_changes_the_id_and_none_keeps_the_one_of_cells_before_the_field_existed() -> None:
    some = cell().model_copy(update={"dataset": DatasetSpec(name="digits", classes=("4", "2"))})
    other = cell().model_copy(update={"dataset": DatasetSpec(name="digits", classes=("2", "4"))})
    assert len({some.cell_id, other.cell_id, cell().cell_id}) == 3
    assert "classes" not in cell().model_dump_json()
    assert Cell.model_validate_json(some.model_dump_json()) == some


def test_a_precision_changes_the_id_and_float32_keeps_the_one_of_cells_before_the_field_existed() -> None:
    ids = {cell().model_copy(update={"precision": precision}).cell_id for precision in ("float32", "tf32", "bf16")}
    assert len(ids) == 3
    assert cell().cell_id in ids
    assert "precision" not in cell().model_dump_json()


@pytest.mark.parametrize("classes", [("1",), ("1", "2", "1")])
def test_a_choice_has_at_least_two_distinct_classes(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="classes are at least two, each once"):
        DatasetSpec(name="digits", classes=classes)


def test_classes_in_either_unicode_form_are_the_same_cell() -> None:
    composed, decomposed = (DatasetSpec(name="folder:x", classes=(name, "tea")) for name in ("caf\u00e9", "cafe\u0301"))
    assert composed == decomposed
    with pytest.raises(ValueError, match="each once"):
        DatasetSpec(name="folder:x", classes=("caf\u00e9", "cafe\u0301"))
