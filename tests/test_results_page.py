"""Tables of docs/results.md and docs/speed.md are those that their commands make from the rows kept beside them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from harness import read_rows
from harness.speed.time_to_quality import HEADER, times_to_quality
from harness.store import ResultStore

DOCS = Path(__file__).parents[1] / "docs"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "results" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "results")  # as when it is run as a script
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def dead_modules() -> ModuleType:
    return _script("dead_modules")


def test_the_table_of_dead_modules_is_made_from_the_kept_rows(dead_modules: ModuleType) -> None:
    rows = pq.read_table(DOCS / "results" / "dead-modules.parquet").to_pylist()
    assert dead_modules.table(rows) in (DOCS / "results.md").read_text(encoding="utf-8")


def test_the_script_of_dead_modules_prints_its_table_and_writes_it_only_if_it_is_to(
    dead_modules: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, rows = tmp_path / "results.md", tmp_path / "dead-modules.parquet"
    page.write_text(f"before\n{dead_modules._START}\nold\n{dead_modules._END}\nafter\n", encoding="utf-8")
    rows.write_bytes((DOCS / "results" / "dead-modules.parquet").read_bytes())
    before = page.read_bytes(), rows.read_bytes()
    monkeypatch.setattr(dead_modules, "_PAGE", page)
    monkeypatch.setattr(dead_modules, "_ROWS", rows)
    dead_modules.main([])
    made = dead_modules.table(pq.read_table(rows).to_pylist())
    assert capsys.readouterr().out == f"{made}\n"
    assert (page.read_bytes(), rows.read_bytes()) == before
    dead_modules.main(["--write"])
    assert page.read_text(encoding="utf-8") == (f"before\n{dead_modules._START}\n{made}\n{dead_modules._END}\nafter\n")


def test_the_table_of_precisions_is_made_from_the_kept_rows() -> None:
    rows = read_rows(DOCS / "results" / "precision").to_pylist()
    assert _script("precision").table(rows) in (DOCS / "speed.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("loss", [0.01, 0.03])
def test_the_tables_of_times_to_quality_are_made_from_the_kept_rows(loss: float) -> None:
    contents = ResultStore(str(DOCS / "results" / "time-to-quality")).read()
    rows = contents.in_full(row.cell_id for row in contents.latest())
    lines = [found.line() for found in times_to_quality(rows, loss=loss, retention=0.5)]
    assert "\n".join([HEADER, *lines]) in (DOCS / "speed.md").read_text(encoding="utf-8")


def test_the_tables_of_real_images_are_made_from_the_kept_rows() -> None:
    folders = (DOCS / "results" / name for name in ("cifar-cpu", "longer-search", "other-searches", "real-images"))
    rows = [row for folder in folders for row in read_rows(folder).to_pylist()]
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert _script("real_images").table(rows) in page
    assert _script("real_images").pairs(read_rows(DOCS / "results" / "real-images").to_pylist()) in page
    assert _script("real_images").at_equal_loss(str(DOCS / "results" / "real-images")) in page
    assert _script("real_images").at_equal_retention(str(DOCS / "results" / "real-images")) in page


def test_the_tables_of_reused_modules_are_made_from_the_kept_rows() -> None:
    rows = read_rows(DOCS / "results" / "reuse").to_pylist()
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert _script("reuse").sub_tasks(rows) in page
    assert _script("reuse").patches(rows) in page


def test_the_tables_of_scalesplitter_are_made_from_the_kept_rows() -> None:
    rows = read_rows(DOCS / "results" / "scalesplitter").to_pylist()
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert _script("scalesplitter").table(rows) in page
    assert _script("scalesplitter").seeds(rows) in page


def test_the_table_of_twenty_classes_is_made_from_the_kept_rows() -> None:
    rows = read_rows(DOCS / "results" / "many-classes").to_pylist()
    assert _script("many_classes").table(rows) in (DOCS / "results.md").read_text(encoding="utf-8")


def test_a_module_is_lost_below_half_of_the_others_median(dead_modules: ModuleType) -> None:
    assert dead_modules.lost_modules([0.9, 0.8, 0.44, 1.0]) == 1  # the others' median is 0.9
    assert dead_modules.lost_modules([0.9, 0.8, 0.46, 1.0]) == 0
    assert dead_modules.lost_modules([0.0, 0.0, 1.0, 1.0, 1.0]) == 2
