from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from scipy import stats
from toys import patch_record, patching_row, toy_cell, toy_row

from benchmarks.cells import ModelSpec
from benchmarks.rows.row import Row, State
from harness.ranking.leaderboard import make_leaderboard
from harness.ranking.over_cells.overview import Overview, overviews
from splitters.errors import UnknownNameError

NETS = ("simcnn", "rescnn", "incecnn")


def cell_rows(net: str, losses: Mapping[str, Sequence[float | None]], *, width: float = 1.0) -> list[Row]:
    """Return a row per method and seed on a base model; a loss of None failed."""
    return [
        toy_row(
            label=name,
            cell=toy_cell(seed=seed, folder=name).model_copy(
                update={"model": ModelSpec(name=net, settings={"width": width})}
            ),
            loss=loss,
            state=State.FAILED if loss is None else State.OK,
        )
        for name, values in losses.items()
        for seed, loss in enumerate(values)
    ]


def only(rows: Sequence[Row], *names: str) -> Overview:
    (found,) = overviews(make_leaderboard(rows), names)
    return found


def mean_ranks(found: Overview) -> dict[str, float]:
    return dict(zip(found.methods, found.mean_ranks.tolist(), strict=True))


def test_ranks_are_those_of_means_over_seeds_averaged_over_cells() -> None:
    rows = [
        *cell_rows("simcnn", {"a": [0.1, 0.2], "b": [0.2, 0.2], "c": [0.5, 0.6]}),
        *cell_rows("rescnn", {"a": [0.4, 0.4], "b": [0.3, 0.2], "c": [0.9, 0.8]}),
    ]
    found = only(rows)
    assert mean_ranks(found) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert found.friedman is not None
    assert found.friedman.statistic == pytest.approx(3.0)  # 12 / (2 x 12) x (3^2 + 3^2 + 6^2) - 3 x 2 x 4


def test_a_failed_seed_ranks_behind_every_method_without_one_and_leaves_no_interquartile_mean() -> None:
    rows = cell_rows("simcnn", {"good": [0.3, 0.3], "fails": [0.0, None], "bad": [0.9, 0.9]})
    found = only(rows)
    assert mean_ranks(found) == {"good": 1, "bad": 2, "fails": 3}
    fails = found.methods.index("fails")
    assert (found.n_failed(fails), found.iqm(fails)) == (1, None)
    pair = next(pair for pair in found.pairs if {pair.first, pair.second} == {fails, found.methods.index("bad")})
    assert pair.probability == 0.5


def test_only_seeds_that_all_methods_were_run_on_count() -> None:
    found = only(cell_rows("simcnn", {"a": [0.1, 0.2, 0.9], "b": [0.3, 0.4]}))
    assert found.cells[0].subjects == ("0", "1")
    assert found.cells[0].values.tolist() == [[0.1, 0.2], [0.3, 0.4]]


def test_an_interrupted_seed_is_no_failure_of_the_method() -> None:
    rows = cell_rows("simcnn", {"a": [0.1, 0.2], "b": [0.2, None]})
    stopped = [
        row.model_copy(update={"state": State.INTERRUPTED}) if row.state is State.FAILED else row for row in rows
    ]
    found = only(stopped)
    assert (found.cells[0].subjects, found.n_failed(0), found.n_failed(1)) == (("0",), 0, 0)


def test_a_method_that_was_not_run_in_some_cell_is_left_out_and_named() -> None:
    rows = [*cell_rows("simcnn", {"a": [0.1], "b": [0.2], "c": [0.3]}), *cell_rows("rescnn", {"a": [0.1], "b": [0.2]})]
    found = only(rows)
    assert (sorted(found.methods), found.left_out) == (["a", "b"], ("c",))


def test_named_splitters_are_compared_over_the_cells_in_which_all_of_them_were_run() -> None:
    rows = [
        *cell_rows("simcnn", {"a": [0.1], "b": [0.2]}),
        *cell_rows("rescnn", {"a": [0.1], "b": [0.2]}),
        *cell_rows("incecnn", {"a": [0.1]}),
    ]
    found = only(rows, "a", "b")
    assert (sorted(found.methods), len(found.cells), found.left_out) == (["a", "b"], 2, ())


def test_one_seed_is_not_tested() -> None:
    rows = [row for net in NETS for row in cell_rows(net, {"a": [0.1], "b": [0.2], "c": [0.3]})]
    found = only(rows)
    assert (found.friedman, found.cliques, found.pair_test) == (None, [], None)
    assert [pair.p_value for pair in found.pairs] == [None] * 3
    iqm = found.iqm(0)
    assert iqm is not None
    assert iqm.low is None


def test_seeds_of_a_single_cell_are_compared_by_a_paired_t_test() -> None:
    values = {"a": [0.10, 0.22, 0.31], "b": [0.21, 0.30, 0.44]}
    found = only(cell_rows("simcnn", values))
    assert found.pair_test == "paired t-test over seeds"
    assert found.pairs[0].p_value == pytest.approx(stats.ttest_rel(values["a"], values["b"]).pvalue)


def test_cells_are_compared_by_wilcoxons_test_on_their_means_from_six_cells_on() -> None:
    gaps = [0.1, -0.02, 0.05, 0.04, 0.03, 0.2]
    rows = [
        row
        for number, gap in enumerate(gaps)
        for row in cell_rows("simcnn", {"a": [0.1, 0.2], "b": [0.1 + gap, 0.2 + 2 * gap]}, width=1 / (number + 1))
    ]
    found = only(rows)
    assert found.pair_test == "Wilcoxon's signed-rank test over cells"
    assert found.pairs[0].p_value == pytest.approx(stats.wilcoxon(gaps).pvalue)
    assert found.pairs[0].probability == pytest.approx(5 / 6)
    assert only(rows[:-4]).pair_test is None


def test_the_probability_of_improvement_weighs_cells_alike() -> None:
    uneven = {"a": [0.3] * 3, "b": [0.3, 0.1, 0.2]}
    found = only([*cell_rows("rescnn", {"a": [0.1], "b": [0.2]}), *cell_rows("simcnn", uneven)])
    (pair,) = found.pairs
    assert (found.methods[pair.first], pair.probability) == ("a", pytest.approx((1 + 0.5 / 3) / 2))


def test_variants_are_separate_overviews_and_classes_are_paired() -> None:
    gains = {"toy": {"3": 0.1, "4": 0.2, "5": 0.3}, "other": {"3": 0.05, "4": 0.15, "5": 0.25}}
    rows = [
        patching_row(
            [patch_record(target, rule, gain=gain) for rule in ("platt", "gate") for target, gain in by_target.items()],
            splitter=splitter,
        )
        for splitter, by_target in gains.items()
    ]
    found = overviews(make_leaderboard(rows))
    assert [dict(overview.variant)["fusion"] for overview in found] == ["platt", "gate"]
    assert found[0].cells[0].subjects == ("3", "4", "5")
    assert mean_ranks(found[0]) == {"toy": 1, "other": 2}


def test_named_splitters_alone_are_compared_and_unknown_names_are_refused() -> None:
    rows = cell_rows("simcnn", {"a": [0.1], "b": [0.2], "c": [0.3]})
    assert sorted(only(rows, "a", "c").methods) == ["a", "c"]
    with pytest.raises(UnknownNameError, match="splitter in these results 'd'"):
        overviews(make_leaderboard(rows), ["d"])
