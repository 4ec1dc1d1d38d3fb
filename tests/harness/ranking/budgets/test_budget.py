from __future__ import annotations

import pytest
from recorded_rows import recorded_row

from benchmarks.rows.row import Row
from harness.ranking.budgets.budget import Budget
from harness.ranking.leaderboard import Leaderboard, make_leaderboard
from harness.ranking.over_cells.overview import overviews
from splitters.errors import ConfigurationError


@pytest.fixture
def rows() -> list[Row]:
    """Two splitters on three seeds; the second one gets to half of the kernels on the first seed only."""
    first = [recorded_row([(0.8, 0.0, 1.0), (0.4, 0.04 + seed / 100, 3.0)], seed=seed) for seed in range(3)]
    second = [
        recorded_row([(0.9, 0.01, 2.0), (0.7 if seed else 0.5, 0.02, 4.0)], splitter="other", seed=seed)
        for seed in range(3)
    ]
    return [*first, *second]


def means(board: Leaderboard, measure: str) -> dict[str, float | None]:
    (section,) = board.sections
    return {entry.label: entry.mean(measure) for entry in section.entries}


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("retention=0.4", "retention", (0.4,)),
        ("retention=40%,100%", "retention", (0.4, 1.0)),
        ("loss=0,1%,-0.5%", "loss", (0.0, 0.01, -0.005)),
        ("seconds=30, 60", "seconds", (30.0, 60.0)),
    ],
)
def test_budgets_are_fractions_percentages_or_seconds(text: str, kind: str, values: tuple[float, ...]) -> None:
    assert Budget.parse(text) == Budget(kind, values)


@pytest.mark.parametrize(
    "text",
    ["retention=40", "retention=0", "retention=nan", "retention=", "retention", "loss=1", "loss=-1", "loss=1pt",
     "seconds=0", "seconds=10%", "seconds=1e999", "kernels=0.4", "", "retention=0.4,"],
)  # fmt: skip
def test_impossible_budgets_are_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"such as|Known: loss, retention, seconds"):
        Budget.parse(text)


def test_losses_are_compared_at_equal_retention(rows: list[Row]) -> None:
    board = make_leaderboard(rows, budget=Budget.parse("retention=60%"))
    (section,) = board.sections
    measure = "loss_at_retention_0.6"
    assert section.sort == measure
    # Half-way between (0.8, 0) and (0.4, 0.05); of the second one, seed 0 has a state: (0.5, 0.02) to (0.9, 0.01).
    assert means(board, measure) == {"toy": pytest.approx(0.025), "other": pytest.approx(0.0175)}
    first, second = section.entries
    assert (first.label, second.label, second.missing_seeds) == ("toy", "other", (1, 2))
    assert (first.mean("interpolated"), first.mean("n_states")) == (1.0, 3.0)


def test_kernels_are_compared_at_equal_losses_and_several_budgets_are_ordered_by_hypervolume(rows: list[Row]) -> None:
    board = make_leaderboard(rows, budget=Budget.parse("loss=0%,2%"))
    assert board.sections[0].sort == "hypervolume"
    assert means(board, "retention_at_loss_0") == {"toy": pytest.approx(0.8), "other": None}
    assert means(board, "retention_at_loss_0.02")["other"] == pytest.approx((0.5 + 0.7 + 0.7) / 3)


def test_states_count_from_the_time_at_which_they_were_reached(rows: list[Row]) -> None:
    board = make_leaderboard(rows, budget=Budget.parse("seconds=1.5,3.5"))
    assert means(board, "hypervolume_at_seconds_1.5") == {"toy": pytest.approx(0.2), "other": 0.0}
    assert means(board, "hypervolume_at_seconds_3.5")["other"] == pytest.approx(0.1 * 0.99)


def test_times_of_a_shared_gpu_do_not_compare(rows: list[Row]) -> None:
    shared = [row.model_copy(update={"gpu_share": 0.5}) if row.splitter == "other" else row for row in rows]
    board = make_leaderboard(shared, budget=Budget.parse("seconds=3.5"))
    assert means(board, "hypervolume_at_seconds_3.5")["other"] is None
    assert means(board, "hypervolume_at_seconds_3.5")["toy"] is not None


def test_a_budget_that_a_method_does_not_reach_is_a_failure_in_comparisons_over_cells(rows: list[Row]) -> None:
    (found,) = overviews(make_leaderboard(rows, budget=Budget.parse("retention=60%")))
    other = found.methods.index("other")
    assert (found.n_failed(other), found.ranks[0, other]) == (2, 2.0)
    (pair,) = found.pairs
    assert pair.probability == pytest.approx(2 / 3)


def test_rows_without_states_are_refused(rows: list[Row]) -> None:
    bare = [row.model_copy(update={"select_base_accuracy": None}) for row in rows]
    with pytest.raises(ConfigurationError, match="no row has states"):
        make_leaderboard(bare, budget=Budget.parse("retention=60%"))
