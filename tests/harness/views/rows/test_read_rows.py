"""Rows for other programs: which ones, and the same values in every form."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from toys import toy_row

from benchmarks.rows.row import LayerRecord, State
from harness import read_rows
from harness.store import ResultStore
from harness.views.rows import formats
from splitters.errors import ConfigurationError, UnknownNameError

Call = Callable[..., Result]
THIRD = 1 / 3


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultStore(tmp_path / "r")
    layers = [LayerRecord(name="c,1", kernels=4, kept=[1, 2], union_kept=3)]
    store.write(toy_row(seed=0, loss=THIRD).model_copy(update={"layers": layers}))
    store.write(toy_row(seed=1, loss=0.25, age=60))
    store.write(toy_row(seed=1, state=State.FAILED, kind="X"))
    return tmp_path / "r"


def test_a_cell_has_the_one_row_that_counts_unless_all_are_asked_for(results: Path) -> None:
    rows = read_rows(results)
    assert isinstance(rows, pa.Table)
    assert list(zip(rows["seed"].to_pylist(), rows["state"].to_pylist(), strict=True)) == [(0, "ok"), (1, "ok")]
    assert read_rows(results, all_attempts=True)["state"].to_pylist() == ["ok", "ok", "failed"]


def test_several_folders_are_read_as_one(results: Path, tmp_path: Path) -> None:
    other = ResultStore(tmp_path / "other")
    other.write(ResultStore(results).read().latest()[0])
    other.write(toy_row(seed=5))
    assert read_rows([results, tmp_path / "other"])["seed"].to_pylist() == [0, 1, 5]


def test_settings_become_typed_columns(results: Path) -> None:
    ResultStore(results).write(toy_row(seed=2, loss=0.1, folder="x", like=None))
    rows = read_rows(results, settings=True)
    assert "splitter.loss" not in read_rows(results).column_names
    assert rows.schema.field("splitter.loss").type == pa.float64()
    assert rows["splitter.folder"].to_pylist() == ["", "", "x"]
    assert rows["training.epochs"].type == pa.int64()
    assert rows["dataset.input_shape"].to_pylist() == ["[3, 32, 32]"] * 3


def test_pandas_gets_the_same_values(results: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = read_rows(results, as_="pandas")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["accuracy_loss"].tolist() == [THIRD, 0.25]


def test_polars_is_handed_the_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polars = ModuleType("polars")
    polars.from_arrow = lambda rows: ("frame", rows)
    monkeypatch.setitem(sys.modules, "polars", polars)
    kind, rows = read_rows(results, as_="polars")
    assert (kind, rows.num_rows) == ("frame", 2)


def test_what_is_not_installed_or_not_known_is_said_in_one_line(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match="needs pandas, which is not installed: pip install pandas"):
        read_rows(results, as_="pandas")
    with pytest.raises(UnknownNameError, match="Known: arrow, pandas, polars"):
        read_rows(results, as_="numpy")
    with pytest.raises(UnknownNameError, match=r"type of table None\. Known: arrow, pandas, polars"):
        read_rows(results, as_=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [[], None, 3])
def test_what_is_no_results_folder_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"read from a results folder .* not {re.escape(repr(wrong))}\."):
        read_rows(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "start"), [("a.parquet", b"PAR1"), ("a.JSON", b"["), ("a.txt", b"row_format,")])
def test_the_format_is_what_the_file_ends_in_unless_it_is_named(
    call: Call, results: Path, tmp_path: Path, name: str, start: bytes
) -> None:
    out = tmp_path / "absent" / name
    assert call("rows", results, "--out", out).exit_code == 0
    assert out.read_bytes().startswith(start)
    assert call("rows", results, "--out", out, "--format", "csv").exit_code == 0
    assert out.read_bytes().startswith(b"row_format,")


def test_on_a_full_disk_an_earlier_file_stays_and_the_error_names_it(
    call: Call, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for verb, name in (("rows", "rows.csv"), ("report", "report.html")):
        out = tmp_path / name
        out.write_text("earlier")
        monkeypatch.setattr("os.fsync", full)
        result = call(verb, results, "--out", out)
        monkeypatch.undo()
        assert result.exit_code == 1
        assert f"No space left on device: '{out}'" in result.stderr
        assert out.read_text() == "earlier"


def test_every_format_has_the_same_digits(call: Call, results: Path, tmp_path: Path) -> None:
    objects = json.loads(call("rows", results, "--format", "json").stdout)
    lines = list(csv.DictReader(io.StringIO(call("rows", results).stdout)))
    out = tmp_path / "rows.parquet"
    assert call("rows", results, "--format", "parquet", "--out", out).exit_code == 0
    table = pq.read_table(out)
    assert [entry["accuracy_loss"] for entry in objects] == [THIRD, 0.25]
    assert [float(line["accuracy_loss"]) for line in lines] == [THIRD, 0.25]
    assert table["accuracy_loss"].to_pylist() == [THIRD, 0.25]
    assert list(lines[0]) == list(objects[0]) == table.column_names
    assert (objects[0]["jaccard_distance"], lines[0]["jaccard_distance"]) == (None, "")
    assert json.loads(lines[0]["layers"]) == objects[0]["layers"] == table["layers"].to_pylist()[0]


def test_the_command_writes_parquet_to_a_pipe(call: Call, results: Path) -> None:
    data = call("rows", results, "--format", "parquet", "--settings").stdout_bytes
    assert "splitter.loss" in pq.read_table(pa.BufferReader(data)).column_names


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_rows_are_written_in_parts_that_do_not_show(
    call: Call, results: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    table = pa.concat_tables([read_rows(results)] * 2).combine_chunks()
    monkeypatch.setattr(formats, "_AT_ONCE", at_once)
    rows = [{**row, "started_at": row["started_at"].isoformat()} for row in table.to_pylist()]
    assert formats.to_json(table) == f"{json.dumps(rows, indent=1, ensure_ascii=False)}\n".encode()
    assert len(list(csv.reader(io.StringIO(formats.to_csv(table).decode())))) == 1 + len(rows)
    assert json.loads(formats.to_json(table.slice(0, 0))) == []


@pytest.mark.parametrize("verb", ["rows", "report"])
def test_a_pipe_is_written_to_and_a_link_stays_one(call: Call, results: Path, tmp_path: Path, verb: str) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert call(verb, results, "--out", pipe).exit_code == 0
    reader.join(timeout=30)
    assert pipe.is_fifo()
    link.symlink_to(tmp_path / "meant")
    assert call(verb, results, "--out", link).exit_code == 0
    assert link.is_symlink()
    assert len((tmp_path / "meant").read_bytes()) == len(read[0]) > 0
