from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_cell

from harness.runs.shard import Shard
from harness.store import ResultStore
from splitters.errors import ConfigurationError


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_disjoint_and_their_union_is_the_suite(count: int) -> None:
    ids = [toy_cell(seed=seed).cell_id for seed in range(40)]
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert [sum(shard.holds(cell_id) for shard in shards) for cell_id in ids] == [1] * 40


def test_a_cell_belongs_to_the_shard_that_its_id_modulo_the_count_names() -> None:
    assert Shard.parse("2/4").holds(f"{5:064x}")
    assert not Shard.parse("1/4").holds(f"{5:064x}")


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3", "", "١/٢"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a shard is written K/N"):
        Shard.parse(text)


def test_a_pair_of_shards_runs_the_whole_suite_once(
    call: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite, results = write_suite(seeds=8), tmp_path / "r"
    for shard in ("1/2", "2/2"):
        options = ["--results", results, "--backend", "inline", "--shard", shard]
        planned = json.loads(call("plan", suite, "--results", results, "--shard", shard, "--json").stdout)
        done = json.loads(call("run", suite, *options, "--json").stdout)
        assert {cell["cell_id"] for cell in done["run"]} == {cell["cell_id"] for cell in planned["cells"]}
        assert 0 < len(done["run"]) < 16
    assert ResultStore(results).read().table.num_rows == 16
    assert "Nothing to do" in call("run", suite, "--results", results, "--backend", "inline").stdout
    assert call("run", suite, "--results", results, "--shard", "3/2").exit_code == 2
