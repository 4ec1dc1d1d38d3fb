from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from toys import patch_record, patching_row, toy_cell, toy_row

from benchmarks.boards import MODULARIZATION
from benchmarks.cells import ModelSpec
from benchmarks.rows.row import Row, State
from harness.ranking.leaderboard import Leaderboard, make_leaderboard
from splitters.errors import UnknownNameError


def rows_of(name: str, losses: Sequence[float], **keys: object) -> list[Row]:
    """Return a row per seed with these losses."""
    return [toy_row(splitter=name, seed=seed, loss=loss, **keys) for seed, loss in enumerate(losses)]


def ranks(board: Leaderboard) -> list[tuple[int | None, str]]:
    return [(entry.rank, entry.label) for section in board.sections for entry in section.entries]


def test_splitters_that_the_paired_test_does_not_separate_share_a_rank_and_the_next_rank_counts_them() -> None:
    rows = [
        *rows_of("toy", [0.010, 0.012, 0.011]),
        *rows_of("other", [0.012, 0.013, 0.011], folder="b"),
        *rows_of("other", [0.050, 0.052, 0.051], folder="c"),
        *rows_of("other", [0.052, 0.053, 0.051], folder="d"),
    ]
    assert ranks(make_leaderboard(rows)) == [
        (1, "toy"), (1, "other (folder=b)"), (3, "other (folder=c)"), (3, "other (folder=d)"),
    ]  # fmt: skip


def test_a_constant_difference_on_seeds_of_unequal_difficulty_separates_though_intervals_overlap() -> None:
    hard = [0.01, 0.20, 0.40]
    rows = [*rows_of("toy", hard), *rows_of("other", [loss + 0.02 + 0.001 * n for n, loss in enumerate(hard)])]
    first, second = make_leaderboard(rows).sections[0].entries
    assert [(first.rank, first.label), (second.rank, second.label)] == [(1, "toy"), (2, "other")]
    assert first.estimates["accuracy_loss"].half_width > 0.02


@pytest.mark.parametrize("doubtful", [0.0, 1.0], ids=["by arrays", "exactly"])
def test_with_many_rivals_the_same_difference_is_no_longer_enough(
    doubtful: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.ranking.paired.ranks._DOUBTFUL", doubtful)
    slightly_worse = [0.01, 0.02, 0.015]  # p = 0.037 against zeros
    rivals = [row for n in range(3) for row in rows_of("other", slightly_worse, folder=str(n))]
    base = rows_of("toy", [0.0, 0.0, 0.0])
    assert [rank for rank, _ in ranks(make_leaderboard([*base, *rivals[:3]]))] == [1, 2]
    assert [rank for rank, _ in ranks(make_leaderboard([*base, *rivals]))] == [1, 1, 1, 1]


def test_fewer_than_three_seeds_give_an_order_but_no_ranks() -> None:
    for n_seeds in (1, 2):
        board = make_leaderboard([*rows_of("toy", [0.5] * n_seeds), *rows_of("other", [0.01] * n_seeds)])
        assert ranks(board) == [(None, "other"), (None, "toy")]
        assert board.has_unranked_entries


def test_rows_with_warnings_are_counted() -> None:
    rows = [*rows_of("toy", [0.01, 0.03]), toy_row(splitter="other")]
    rows[1] = rows[1].model_copy(update={"warnings": ["no recorded state is within 0.01"]})
    board = make_leaderboard(rows)
    assert {entry.label: entry.n_warnings for entry in board.sections[0].entries} == {"toy": 1, "other": 0}
    assert board.has_warnings


def test_means_are_over_the_seeds_that_succeeded_and_failures_are_counted_and_kept() -> None:
    rows = [*rows_of("toy", [0.01, 0.03]), toy_row(seed=2, state=State.FAILED, kind="X")]
    board = make_leaderboard(rows)
    (entry,) = board.sections[0].entries
    assert (entry.n_seeds, entry.n_failed) == (2, 1)
    assert entry.mean("accuracy_loss") == pytest.approx(0.02)
    assert entry.mean("jaccard_distance") is None
    assert [row.seed for row in board.failures] == [2]


def test_a_splitter_that_never_succeeded_is_listed_last_without_a_rank() -> None:
    board = make_leaderboard([*rows_of("toy", [0.5] * 3), toy_row(splitter="other", state=State.TIMEOUT)])
    assert ranks(board) == [(1, "toy"), (None, "other")]


def losses_on(name: str, losses: Mapping[int, float | None], **keys: object) -> list[Row]:
    """Return a row per seed; None is a seed that failed."""
    return [
        toy_row(splitter=name, seed=seed, loss=loss, state=State.FAILED if loss is None else State.OK, **keys)
        for seed, loss in losses.items()
    ]


def test_one_that_failed_on_the_hard_seeds_ranks_after_those_that_did_not() -> None:
    easy, hard = range(4), range(4, 8)
    rows = [
        *losses_on("toy", dict.fromkeys(easy, 0.01) | dict.fromkeys(hard, 0.09)),
        *losses_on("other", dict.fromkeys(easy, 0.02) | dict.fromkeys(hard)),
    ]
    complete, incomplete = make_leaderboard(rows).sections[0].entries
    assert (complete.rank, complete.label, complete.seeds, complete.missing_seeds) == (1, "toy", (*easy, *hard), ())
    assert (incomplete.rank, incomplete.label, incomplete.seeds, incomplete.n_failed) == (2, "other", (*easy,), 4)
    assert incomplete.missing_seeds == (*hard,)
    assert incomplete.mean("accuracy_loss") == pytest.approx(0.02), "over the seeds that it has"


def test_one_that_ran_on_harder_seeds_is_compared_on_the_seeds_that_both_have() -> None:
    rows = [
        *losses_on("toy", {0: 0.01, 1: 0.01, 2: 0.051, 3: 0.052, 4: 0.050}),
        *losses_on("other", {2: 0.04, 3: 0.04, 4: 0.04, 5: 0.09, 6: 0.09}),
    ]
    board = make_leaderboard(rows)
    assert ranks(board) == [(1, "other"), (2, "toy")]
    assert [entry.missing_seeds for entry in board.sections[0].entries] == [(0, 1), (5, 6)]
    assert [entry.mean("accuracy_loss") for entry in board.sections[0].entries] == pytest.approx([0.06, 0.0346])
    assert board.has_incomplete_entries
    by_accuracy = make_leaderboard(rows, sort="composed_accuracy")
    assert ranks(by_accuracy) == [(1, "other"), (2, "toy")]


def test_incomplete_ones_come_after_the_complete_ones_whatever_their_means() -> None:
    rows = [
        *losses_on("toy", {0: 0.05, 1: 0.05, 2: 0.05, 3: 0.05}),
        *losses_on("other", {0: 0.06, 1: 0.061, 2: 0.06, 3: 0.06}, folder="b"),
        *losses_on("other", {0: 0.01, 1: 0.01, 2: 0.01}, folder="c"),
        *losses_on("other", {0: 0.02, 1: 0.021, 2: 0.02, 3: None}, folder="d"),
    ]
    assert ranks(make_leaderboard(rows)) == [
        (1, "toy"), (2, "other (folder=b)"), (3, "other (folder=c)"), (4, "other (folder=d)"),
    ]  # fmt: skip


def test_those_without_a_common_seed_have_no_ranks() -> None:
    board = make_leaderboard([*losses_on("toy", {0: 0.01}), *losses_on("other", {1: 0.09})])
    assert [rank for rank, _ in ranks(board)] == [None, None]


def test_a_seed_that_failed_for_all_makes_nobody_incomplete() -> None:
    seeds = {0: 0.01, 1: 0.01, 2: 0.01, 3: None}
    board = make_leaderboard([*losses_on("toy", seeds), *losses_on("other", {0: 0.02, 1: 0.02, 2: 0.02, 3: None})])
    assert ranks(board) == [(1, "toy"), (2, "other")]
    assert not board.has_incomplete_entries


def test_a_seed_with_several_cells_of_one_configuration_counts_once() -> None:
    rows = [toy_row(loss=0.02), toy_row(loss=0.04), toy_row(state=State.FAILED)]
    rows = [row.model_copy(update={"cell_id": str(n) * 64}) for n, row in enumerate(rows)]
    (entry,) = make_leaderboard(rows).sections[0].entries
    assert (entry.n_seeds, entry.n_failed) == (1, 0)
    assert entry.estimates["accuracy_loss"].mean == pytest.approx(0.03)
    assert entry.estimates["accuracy_loss"].half_width is None


def test_a_skipped_cell_is_no_failure_but_listed() -> None:
    board = make_leaderboard([toy_row(state=State.SKIPPED)])
    assert board.sections[0].entries[0].n_failed == 0
    assert len(board.failures) == 1


def test_configurations_are_never_averaged_and_are_told_apart_by_what_differs() -> None:
    board = make_leaderboard(
        [toy_row(loss=0.1, folder="x"), toy_row(loss=0.2, folder="y"), toy_row(label="mine", behaviour="z")]
    )
    assert [label for _, label in ranks(board)] == ["mine", "toy (folder=x)", "toy (folder=y)"]


def test_rows_of_a_version_that_had_a_protocol_go_with_todays_and_those_of_other_code_do_not() -> None:
    now, before = toy_row(seed=0), toy_row(seed=1)
    former = before.model_copy(update={"config": before.config[:-1] + ',"protocol":"splitbench"}'})
    (entry,) = make_leaderboard([now, former]).sections[0].entries
    assert entry.n_seeds == 2
    edited = now.model_copy(
        update={"cell_id": "e" * 64, "config": now.config.replace('"version":3', '"version":3,"code":"abc"')}
    )
    first, second = make_leaderboard([now, edited]).sections[0].entries
    assert first.label != second.label
    assert "toy (code=abc)" in (first.label, second.label)
    assert (first.n_seeds, second.n_seeds) == (1, 1)


def test_code_that_differs_is_named_by_the_beginning_of_its_fingerprint() -> None:
    cells = [toy_cell().model_copy(update={"scenario_code": digit * 64}) for digit in "ab"]
    board = make_leaderboard([toy_row(cell=cell) for cell in cells])
    assert [section.title for section in board.sections] == [
        "digits · simcnn (scenario_code=aaaaaaaaaaaa)", "digits · simcnn (scenario_code=bbbbbbbbbbbb)",
    ]  # fmt: skip


def test_empty_settings_are_left_out_of_names() -> None:
    rows = [toy_row(folder=folder, behaviour=name) for folder, name in (("", "a"), ("x", "b"))]
    assert {label for _, label in ranks(make_leaderboard(rows))} == {"toy (behaviour=a)", "toy (behaviour=b, folder=x)"}


def test_many_differences_become_a_short_hash() -> None:
    rows = [toy_row(folder=name, behaviour=name, like={"name": name, "x": name}) for name in ("a", "b")]
    labels = {label for _, label in ranks(make_leaderboard(rows))}
    assert len(labels) == 2
    assert all(label.startswith("toy (#") for label in labels)


def test_different_base_models_get_sections_of_their_own() -> None:
    narrow = toy_cell().model_copy(update={"model": ModelSpec(name="simcnn", settings={"width": 0.25})})
    wide = toy_cell().model_copy(update={"model": ModelSpec(name="simcnn", settings={"width": 1.0})})
    board = make_leaderboard([toy_row(cell=narrow), toy_row(cell=wide)])
    assert [section.title for section in board.sections] == [
        "digits · simcnn (width=0.25)", "digits · simcnn (width=1.0)",
    ]  # fmt: skip


def test_rows_of_other_images_or_devices_are_never_averaged_though_their_cells_look_alike() -> None:
    rows = [
        toy_row(seed=0).model_copy(update={"dataset_hash": "a" * 64}),
        toy_row(seed=1).model_copy(update={"dataset_hash": "a" * 64, "cuda_version": "12.8"}),
        toy_row(seed=2).model_copy(update={"dataset_hash": "b" * 64}),
        toy_row(seed=3, state=State.FAILED),
    ]
    board = make_leaderboard(rows)
    assert [(section.title, section.entries[0].n_seeds, section.entries[0].n_failed) for section in board.sections] == [
        ("digits · simcnn (images=aaaaaaaa, ran on=cpu)", 1, 1),
        ("digits · simcnn (images=aaaaaaaa, ran on=gpu)", 1, 0),
        ("digits · simcnn (images=bbbbbbbb, ran on=cpu)", 1, 0),
    ]
    alike = [row.model_copy(update={"cuda_version": None, "dataset_hash": "a" * 64}) for row in rows[:3]]
    assert [section.title for section in make_leaderboard(alike).sections] == ["digits · simcnn"]


def test_another_measure_sorts_in_its_own_direction() -> None:
    rows = [*rows_of("toy", [0.02] * 3), *rows_of("other", [0.01] * 3)]
    assert ranks(make_leaderboard(rows, sort="composed_accuracy")) == [(1, "other"), (2, "toy")]
    assert "jaccard_distance" not in MODULARIZATION.sortable()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sort": "accuracy_los"}, r"--sort: unknown measure 'accuracy_los'. Did you mean 'accuracy_loss'"),
        ({"scenario": "tony"}, r"--scenario: unknown scenario in these results 'tony'. Did you mean 'toy'"),
    ],
)
def test_unknown_names_are_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        make_leaderboard([toy_row()], **keys)


def test_no_rows_make_an_empty_leaderboard() -> None:
    assert make_leaderboard([]).sections == ()


def test_patches_make_an_entry_per_rule_with_means_over_seeds_and_intervals_over_classes() -> None:
    rows = [
        patching_row([patch_record("3", "platt", gain=0.1), patch_record("8", "platt", gain=0.3)], seed=0),
        patching_row([patch_record("3", "platt", gain=0.2), patch_record("8", "gate", gain=0.5)], seed=1),
    ]
    (section,) = make_leaderboard(rows).sections
    platt, gate = section.entries
    assert [(entry.rank, entry.label, entry.variant["fusion"], entry.seeds) for entry in (platt, gate)] == [
        (None, "toy", "platt", (0, 1)), (None, "toy", "gate", (1,)),
    ]  # fmt: skip
    assert section.variants == ["fusion"]
    estimate = platt.estimates["tc_f1_gain"]  # of 0.15 (class 3, both seeds) and 0.3 (class 8, one seed)
    assert estimate.mean == pytest.approx(0.225)
    assert estimate.half_width == pytest.approx(12.706 * 0.106066 / 2**0.5, rel=1e-3)


def test_kinds_of_weakness_and_splitters_are_never_averaged() -> None:
    rows = [
        patching_row([patch_record(weak_kind="over_simple"), patch_record(weak_kind="label_noise")]),
        patching_row([patch_record()], splitter="other"),
    ]
    board = make_leaderboard(rows)
    (section,) = board.sections
    assert {(entry.splitter, entry.variant["weak_kind"]) for entry in section.entries} == {
        ("other", "under_fitted"), ("toy", "label_noise"), ("toy", "over_simple"),
    }  # fmt: skip
    assert section.variants == ["weak_kind"]


def scored(kinds: Sequence[str | None], **keys: object) -> list[Row]:
    """Return a row per seed, whose modules have these kinds of scores."""
    return [toy_row(seed=seed, **keys).model_copy(update={"score": kind}) for seed, kind in enumerate(kinds)]


def test_the_kind_of_score_is_a_column_where_it_differs_and_does_not_tell_entries_apart() -> None:
    rows = [*scored(["head", "head"]), *scored(["moments", "head"], splitter="other")]
    (section,) = make_leaderboard(rows).sections
    assert section.variants == ["score"]
    assert {(entry.splitter, entry.score, entry.n_seeds) for entry in section.entries} == {
        ("toy", "head", 2), ("other", "head/moments", 2),
    }  # fmt: skip
    alike = [*scored(["head", "head"]), *scored(["head", "head"], splitter="other")]
    assert make_leaderboard(alike).sections[0].variants == []


def test_rows_of_earlier_formats_do_not_say_their_kind_of_score() -> None:
    (section,) = make_leaderboard(scored([None, None])).sections
    assert section.variants == []
    assert section.entries[0].texts == {}


def test_scenarios_have_sections_of_their_own_each_with_its_own_measures() -> None:
    board = make_leaderboard([toy_row(), patching_row([patch_record()])])
    assert [(section.title, section.sort) for section in board.sections] == [
        ("patching · digits · simcnn", "tc_f1_gain"), ("toy · digits · simcnn", "accuracy_loss"),
    ]  # fmt: skip
    by_precision = make_leaderboard([toy_row(), patching_row([patch_record()])], sort="tc_precision_after")
    assert [section.sort for section in by_precision.sections] == ["tc_precision_after", "accuracy_loss"]


def test_a_failed_patching_cell_is_listed_without_a_rank() -> None:
    failed = patching_row([]).model_copy(update={"state": State.FAILED})
    (section,) = make_leaderboard([failed]).sections
    assert [(entry.rank, entry.n_failed, dict(entry.estimates)) for entry in section.entries] == [(None, 1, {})]


def test_times_of_cells_that_shared_a_gpu_are_not_in_the_table_and_their_accuracies_are() -> None:
    alone, shared = rows_of("toy", [0.01, 0.02]), rows_of("other", [0.03, 0.03])
    shared = [row.model_copy(update={"gpu_share": 0.5, "split_seconds": 99.0}) for row in shared]
    mixed = [*alone[:1], alone[1].model_copy(update={"gpu_share": 0.5, "split_seconds": 99.0})]
    entries = {entry.label: entry for entry in make_leaderboard([*mixed, *shared]).sections[0].entries}
    assert entries["other"].mean("split_seconds") is None
    assert entries["other"].mean("accuracy_loss") == pytest.approx(0.03)
    assert entries["toy"].mean("split_seconds") == pytest.approx(1.0)
    assert entries["toy"].mean("accuracy_loss") == pytest.approx(0.015)


def test_a_column_that_was_not_measured_has_no_mean_though_subjects_were_measured_several_times() -> None:
    rows = [patching_row([patch_record("3", gain=0.1)], seed=seed) for seed in (0, 1)]
    entry = make_leaderboard(rows).sections[0].entries[0]
    assert entry.mean("tc_f1_gain") == pytest.approx(0.1)
    assert entry.mean("kernel_retention") is None
    assert entry.seeds_with("kernel_retention") == frozenset()
