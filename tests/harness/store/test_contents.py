"""Of a cell's attempts one counts, and a cell is found by the beginning of its id."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import toy_cell, toy_row

from benchmarks.rows.row import State
from harness.store import ResultStore, find_cell, read_stores
from splitters.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def test_a_final_attempt_counts_before_later_failures_and_else_the_newest(store: ResultStore) -> None:
    for row in (
        toy_row(seed=0, age=10),
        toy_row(seed=0, state=State.FAILED),
        toy_row(seed=1, state=State.TIMEOUT, age=10),
        toy_row(seed=1, state=State.FAILED, kind="X"),
        toy_row(seed=2, state=State.INTERRUPTED, age=10),
        toy_row(seed=2, state=State.SKIPPED, age=5),
    ):
        store.write(row)
    assert {row.seed: row.state for row in store.read().latest()} == {0: State.OK, 1: State.FAILED, 2: State.SKIPPED}
    assert [row.state for row in store.read().attempts(toy_cell(seed=0).cell_id)] == [State.OK, State.FAILED]


@pytest.fixture
def two_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores in ./results; both have seed 0, and the older attempt in results/a is the one that counts."""
    monkeypatch.chdir(tmp_path)
    first, second = ResultStore("results/a"), ResultStore("results/b")
    first.write(toy_row(seed=0, age=10))
    second.write(toy_row(seed=0, state=State.FAILED))
    second.write(toy_row(seed=1))


@pytest.mark.usefixtures("two_stores")
@pytest.mark.parametrize(("seed", "where", "states"), [(0, "results/a", ["failed", "ok"]), (1, "results/b", ["ok"])])
def test_a_cell_is_found_by_the_beginning_of_its_id_with_the_attempt_that_counts_last(
    seed: int, where: str, states: list[str]
) -> None:
    location, attempts = find_cell(toy_cell(seed=seed).cell_id[:12].upper(), read_stores(None))
    assert (location, [row.state.value for row in attempts]) == (where, states)


@pytest.mark.usefixtures("two_stores")
def test_a_beginning_that_several_ids_have_lists_them_and_one_that_none_has_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"2 cells' ids begin with ''; type more of it:\n  .*seed [01]\n  .*seed"
    ):
        find_cell("", read_stores(None))
    with pytest.raises(ConfigurationError, match="no cell's id begins with 'zzz'"):
        find_cell("zzz", read_stores("results/b"))


def test_an_empty_beginning_means_no_cell_even_if_there_is_only_one(store: ResultStore) -> None:
    store.write(toy_row(seed=0))
    with pytest.raises(ConfigurationError, match="1 cell's id begins with ''; type more of it"):
        find_cell(" ", read_stores(store.location))


def test_without_any_results_their_folder_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no results in \./results, .* begins with 'a'. Name their folder"):
        find_cell("a", read_stores(None))
