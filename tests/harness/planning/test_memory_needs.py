from __future__ import annotations

from pathlib import Path

from toys import toy_item, toy_row

from benchmarks.rows.row import Row, StageRecord
from harness.planning.memory_needs import memory_needs
from harness.planning.plan import make_plan
from harness.store import ResultStore

GB = 1 << 30


def stored(tmp_path: Path, *rows: Row) -> ResultStore:
    store = ResultStore(tmp_path / "r")
    for row in rows:
        store.write(row)
    return store


def with_peaks(*peaks: int | None, cuda: str | None = None, **keys: int | str) -> Row:
    stages = [StageRecord(name=f"s{index}", seconds=1.0, peak_memory_bytes=peak) for index, peak in enumerate(peaks)]
    return toy_row(**keys).model_copy(update={"stages": stages, "cuda_version": cuda})


def test_cells_ask_for_the_highest_peak_of_such_cells_and_a_quarter_more(tmp_path: Path) -> None:
    store = stored(tmp_path, with_peaks(1 * GB, 3 * GB, None, seed=1), with_peaks(2 * GB, seed=2), with_peaks(seed=3))
    items = [toy_item(seed=seed) for seed in range(5)]
    contents = store.read()
    needs = memory_needs(make_plan(items, contents.latest()), contents.table)
    done = {item.cell.cell_id for item in items[1:4]}
    assert set(needs) == {item.cell.cell_id for item in items} - done
    assert set(needs.values()) == {int(3.75 * GB)}


def test_other_cells_and_peaks_of_gpus_say_nothing(tmp_path: Path) -> None:
    store = stored(tmp_path, with_peaks(9 * GB, seed=1, splitter="other"), with_peaks(9 * GB, seed=1, cuda="13.0"))
    contents = store.read()
    assert memory_needs(make_plan([toy_item()], contents.latest()), contents.table) == {}


def test_an_empty_store_says_nothing(tmp_path: Path) -> None:
    contents = ResultStore(tmp_path / "none").read()
    assert memory_needs(make_plan([toy_item()], []), contents.table) == {}
