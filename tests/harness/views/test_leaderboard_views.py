from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence

import pytest
from rendering import plain
from toys import patch_record, patching_row, toy_row

from benchmarks.boards import MODULARIZATION
from benchmarks.rows.row import (
    Row,
    State,
)
from harness.ranking.baseline import with_baseline
from harness.ranking.leaderboard import Leaderboard, make_leaderboard, without_references
from harness.views.leaderboards.entry_text import PUBLISHED_TITLE
from harness.views.leaderboards.formats import (
    leaderboard_objects,
    section_lines,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from harness.views.leaderboards.tables import Document, TextTable
from harness.views.leaderboards.terminal import leaderboard_view

SPLITTING_KEYS = [
    "rank", "splitter", "model", "dataset", "scenario", "n_seeds", "n_failed", "base_accuracy", "composed_accuracy",
    "accuracy_loss", "kernel_retention", "kernel_retention_union", "flops_retention", "param_retention",
    "jaccard_distance", "split_seconds",
]  # fmt: skip


PATCHING_KEYS = [
    "weak_kind", "fusion", "tc_precision_before", "tc_precision_after", "tc_recall_before", "tc_recall_after",
    "tc_f1_before", "tc_f1_after", "non_tc_accuracy_before", "non_tc_accuracy_after", "accuracy_before",
    "accuracy_after",
]  # fmt: skip


def rows() -> Sequence[Row]:
    return [
        *(toy_row(seed=seed, loss=0.01 + seed / 100) for seed in range(3)),
        *(toy_row(splitter="other", seed=seed, loss=0.4 + seed / 100) for seed in range(2)),
        toy_row(splitter="other", seed=2, state=State.FAILED, kind="SplitFailedError"),
    ]


def test_a_leaderboard_fits_a_hundred_columns_with_legend_and_failures() -> None:
    text = plain(leaderboard_view(make_leaderboard(rows()), results="results/toys"))
    assert max(map(len, text.splitlines())) <= 100
    for part in ("digits · simcnn", "loss ↓", "base ↑", "2.00 ±2.48", "40.50 ±6.35", "2/3", "40.0", "1.0 s"):
        assert part in text
    failed = rows()[-1]
    for part in (
        "Not ok",
        "SplitFailedError: a reason",
        f"splitbench show {failed.cell_id[:10]} --results results/toys",
    ):
        assert part in text


def test_kinds_of_scores_stand_beside_the_names_where_they_differ() -> None:
    kinds = {"toy": "head", "other": "moments"}
    board = make_leaderboard([row.model_copy(update={"score": kinds[row.splitter]}) for row in rows()])
    assert "| rank | splitter | score | seeds |" in to_markdown(board)
    assert "| 1 | toy | head | 3 |" in to_markdown(board)
    text = plain(leaderboard_view(board))
    assert max(map(len, text.splitlines())) <= 100
    assert "score" in text
    assert [entry["score"] for entry in leaderboard_objects(board)] == ["head", "moments"]


def test_long_names_do_not_push_numbers_out() -> None:
    label = "gradsplitter with an alpha of three tenths and more rounds than the paper"
    text = plain(leaderboard_view(make_leaderboard([toy_row(seed=s, loss=s, label=label) for s in range(2)])))
    assert max(map(len, text.splitlines())) <= 100
    assert "50.00 ±635.31" in text
    assert "1.0 s" in text


def test_too_few_seeds_have_no_ranks_and_the_notes_say_why() -> None:
    board = make_leaderboard([toy_row()])
    for text in (plain(leaderboard_view(board)), to_markdown(board), to_latex(board)):
        assert "Too few seeds, classes or tasks to tell entries apart: no ranks." in " ".join(text.split())


def test_rows_with_warnings_are_marked_and_explained() -> None:
    row = toy_row().model_copy(update={"warnings": ["no recorded state is within 0.01"]})
    board = make_leaderboard([row])
    for text in (plain(leaderboard_view(board)), to_markdown(board), to_latex(board)):
        assert "1!" in text
        note = "! rows with warnings: 'splitbench show CELL_ID' shows them, 'splitbench plan SUITE' lists the ids."
        assert note in text.replace("\\_", "_")
    assert [entry["n_warnings"] for entry in leaderboard_objects(board)] == [1]


def test_an_entry_without_a_rank_beside_ranked_ones_is_explained() -> None:
    board = make_leaderboard([*rows()[:3], toy_row(splitter="other", seed=0, loss=0.4)])
    assert [entry.rank for entry in board.sections[0].entries] == [1, None]
    text = to_markdown(board)
    assert "– too few seeds, classes or tasks in common with the entries above to rank the entry." in text
    assert "no ranks" not in text


def test_json_has_the_documented_keys_with_fractions() -> None:
    objects = json.loads(to_json(make_leaderboard(rows())))
    assert list(objects[0])[: len(SPLITTING_KEYS)] == SPLITTING_KEYS
    assert objects[0]["accuracy_loss"] == 0.02
    assert objects[0]["jaccard_distance"] is None
    assert (objects[0]["rank"], objects[1]["rank"]) == (1, None)
    assert (objects[1]["n_seeds"], objects[1]["n_failed"]) == (2, 1)


def test_json_of_patches_has_the_documented_keys() -> None:
    patches = [patch_record(target, rule) for target in "38" for rule in ("platt", "min_max")]
    objects = [entry for entry in json.loads(to_json(make_leaderboard([patching_row(patches)]))) if entry["measured"]]
    assert set(PATCHING_KEYS) <= set(objects[0])
    assert list(objects[0])[: len(SPLITTING_KEYS)] == SPLITTING_KEYS, "as those of every scenario"
    assert {objects[0][measure] for measure in MODULARIZATION.measures} == {None}
    assert {entry["fusion"] for entry in objects} == {"platt", "min_max"}
    assert {(entry["weak_kind"], entry["tc_f1_gain"], entry["accuracy_before"]) for entry in objects} == {
        ("under_fitted", 0.25, 0.8)
    }


def test_patches_beside_other_scenarios_leave_no_gap_in_csv_and_text() -> None:
    board = make_leaderboard([toy_row(), patching_row([patch_record("3"), patch_record("8")])])
    lines = [line for line in csv.DictReader(io.StringIO(to_csv(board))) if line["measured"] == "True"]
    assert [(line["scenario"], line["fusion"], line["accuracy_loss"]) for line in lines] == [
        ("patching", "platt", ""), ("toy", "", "0.02"),
    ]  # fmt: skip
    text = plain(leaderboard_view(board))
    for part in ("patching · digits · simcnn", "F1 gain ↑", "25.00 ±0.00", "Means over seeds or target classes"):
        assert part in text
    assert "| F1 gain, points ↑ |" in to_markdown(board)


def test_rules_that_differ_get_a_column_in_every_form() -> None:
    board = make_leaderboard([patching_row([patch_record(t, rule) for t in "38" for rule in ("gate", "min_max")])])
    text = plain(leaderboard_view(board))
    assert max(map(len, text.splitlines())) <= 100
    assert [line.split()[:3] for line in text.splitlines() if " toy " in line] == [
        ["–", "toy", "gate"], ["–", "toy", "min_max"],
    ]  # fmt: skip
    assert "| – | toy | min_max | 1 |" in to_markdown(board)
    assert "\\begin{tabular}{rllr" in to_latex(board)


def on_cifar(row: Row) -> Row:
    """Return a row on images beside which published figures stand."""
    return row.model_copy(update={"dataset": "cifar10"})


def test_published_figures_stand_below_what_was_measured_and_are_marked() -> None:
    board = make_leaderboard([toy_row(), on_cifar(patching_row([patch_record("3"), patch_record("8")]))])
    lines = plain(leaderboard_view(board), 140).splitlines()
    assert [line.split() for line in lines if line.strip().startswith("ref ")] == [
        ["ref", "gradsplitter", "[1]", "–", "17.13", "4.95", "–", "11.47", "–", "–"],
        ["ref", "cnnsplitter", "[2]", "–", "12.54", "2.14", "–", "–", "1.18", "–"],
    ]
    notes = " ".join(" ".join(lines).split())
    assert "ref: published figures, not measured here, of other networks and training: [1] gradsplitter: " in notes
    assert "F1 +11.47 % (arXiv 2311.04438, abstract) [2] cnnsplitter: " in notes
    markdown, latex = to_markdown(board), to_latex(board)
    assert "| ref | gradsplitter [1] | – | 17.13 | 4.95 | – | 11.47 | – | – |" in markdown
    assert "ref: published figures, not measured here" in markdown
    assert "ref & cnnsplitter {[}2{]} & -- & 12.54 & 2.14" in latex
    assert r"F1 +11.47 \% (arXiv 2311.04438, abstract)\par" in latex


def test_published_figures_without_a_row_in_a_table_have_no_number() -> None:
    row = on_cifar(toy_row()).model_copy(update={"scenario": "modularization"})
    board = make_leaderboard([row])
    lines = to_markdown(board).splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.match(r"\| ref \| .*? \[(\d+)\]", line))]
    notes = lines[lines.index(PUBLISHED_TITLE) + 2 :]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert [note.startswith("- [") for note in notes if note] == [True] * len(numbers) + [False]
    assert notes[len(numbers)].startswith("- gradsplitter: modules with 19.88 % fewer kernels")


def test_published_figures_are_no_entries_for_programs() -> None:
    objects = leaderboard_objects(make_leaderboard([toy_row(), on_cifar(patching_row([patch_record("3")]))]))
    assert [(entry["splitter"], entry["measured"], entry["rank"], entry["n_seeds"]) for entry in objects] == [
        ("toy", True, None, 1), ("gradsplitter", False, None, 0), ("cnnsplitter", False, None, 0),
        ("toy", True, None, 1),
    ]  # fmt: skip
    assert [entry["source"] for entry in objects] == [
        None, "arXiv 2311.04438, abstract", "arXiv 2209.06116, abstract", None,
    ]  # fmt: skip
    assert objects[1]["tc_f1_gain"] == 0.1147
    assert objects[1]["cell_ids"] == []


def incomplete_board() -> Leaderboard:
    """Return a board whose second entry lacks seeds 1 and 2: one failed, one was not run."""
    complete = [toy_row(seed=seed, loss=0.02) for seed in range(3)]
    return make_leaderboard(
        [*complete, toy_row(splitter="other", loss=0.01), toy_row(splitter="other", seed=1, state=State.FAILED)]
    )


def test_entries_that_lack_seeds_are_marked_for_people_in_every_form() -> None:
    board = incomplete_board()
    text, markdown, latex = plain(leaderboard_view(board)), to_markdown(board), to_latex(board)
    assert [line.split()[:3] for line in text.splitlines() if " toy " in line or " other " in line][:2] == [
        ["1", "toy", "3"], ["–", "other", "1/2*"],
    ]  # fmt: skip
    assert "| – | other | 1/2* |" in markdown
    assert "-- & other & 1/2* &" in latex
    for form in (text, markdown, latex):
        assert "has no value on seeds on which other entries have one" in " ".join(form.split())
    assert "has no value on seeds" not in plain(leaderboard_view(make_leaderboard([toy_row()])))


def test_programs_see_which_seeds_each_entry_has_and_lacks() -> None:
    board = incomplete_board()
    assert [(entry["seeds"], entry["missing_seeds"]) for entry in leaderboard_objects(board)] == [
        ([0, 1, 2], []), ([0], [1, 2]),
    ]  # fmt: skip
    lines = csv.DictReader(io.StringIO(to_csv(board)))
    assert [(line["seeds"], line["missing_seeds"]) for line in lines] == [("0 1 2", ""), ("0", "1 2")]


def test_a_mean_over_fewer_seeds_than_its_neighbours_says_so_in_every_form() -> None:
    rows = [toy_row(seed=seed).model_copy(update={"flops_retention": value}) for seed, value in enumerate([0.9, None])]
    board = make_leaderboard(rows)
    for form in (plain(leaderboard_view(board)), to_markdown(board), to_latex(board)):
        assert "90.0 1/2" in form
        assert "2/3 after a value: measured on two of three seeds." in " ".join(form.split())
    assert leaderboard_objects(board)[0]["flops_retention_n_seeds"] == 1


def test_differences_are_taken_on_the_seeds_that_have_the_measure() -> None:
    measured = {"toy": (0.1, 0.5), "other": (None, 0.6)}
    rows = [
        patching_row(
            [patch_record("3", select_tc_f1_gain=value), patch_record("4", select_tc_f1_gain=value)],
            splitter=splitter,
            seed=seed,
        )
        for splitter, values in measured.items()
        for seed, value in enumerate(values)
    ]
    entries = leaderboard_objects(with_baseline(make_leaderboard(rows), "toy"))
    found = {entry["splitter"]: entry["select_tc_f1_gain_difference"] for entry in entries}
    assert found == {"toy": None, "other": pytest.approx(0.1)}


def test_a_rule_that_the_baseline_lacks_has_no_difference() -> None:
    rows = [
        patching_row([patch_record(fusion=rule) for rule in rules], splitter=splitter)
        for splitter, rules in {"toy": ["gate", "platt"], "other": ["platt"]}.items()
    ]
    board = with_baseline(make_leaderboard(rows), "other")
    shown = {(line[1], line[2]): line[-1] for line in section_lines(board, board.sections[0])}
    assert shown == {("toy", "gate"): "–", ("toy", "platt"): "0.00", ("other", "platt"): "10.00"}


def test_a_table_without_the_baseline_says_that_it_has_values() -> None:
    others = [toy_row(splitter="other", threads=2)]
    board = with_baseline(make_leaderboard([toy_row(), *others]), "toy")
    assert len(board.sections) == 2
    assert {values["splitter"]: values["baseline"] for values in leaderboard_objects(board)} == {
        "toy": "toy", "other": None,
    }  # fmt: skip
    assert to_latex(board).count("toy was not measured here: these are values, not differences.") == 1


def test_every_form_shows_the_same_entries_in_the_same_order_with_the_same_digits() -> None:
    board = make_leaderboard(
        toy_row(seed=seed, loss=((7 * seed + 13 * n) % 100 + n) / 1000, label=f"method-{n}", folder=str(n))
        for n in range(10)
        for seed in range(10)
    )
    objects = json.loads(to_json(board))
    expected = [
        [
            str(entry["rank"]), entry["label"], str(entry["n_seeds"]), f"{100 * entry['base_accuracy']:.1f}",
            f"{100 * entry['composed_accuracy']:.1f}",
            f"{100 * entry['accuracy_loss']:.2f} ±{100 * entry['accuracy_loss_half_width']:.2f}",
        ]
        for entry in objects
    ]  # fmt: skip
    assert len({entry["accuracy_loss"] for entry in objects}) == 10
    csv_lines = csv.DictReader(io.StringIO(to_csv(board)))
    assert [(line["label"], float(line["accuracy_loss"])) for line in csv_lines] == [
        (entry["label"], entry["accuracy_loss"]) for entry in objects
    ]

    def cells(text: str, separator: str) -> list[list[str]]:
        lines = [line.strip(" |\\") for line in text.splitlines() if "method-" in line]
        return [[cell.strip() for cell in line.split(separator)][:6] for line in lines]

    assert cells(to_markdown(board), "|") == expected
    assert cells(to_latex(board).replace("$\\pm$", "±"), "&") == expected
    table = [line.split()[:7] for line in plain(leaderboard_view(board)).splitlines() if "method-" in line]
    assert table == [" ".join(line).split() for line in expected]


def test_csv_has_a_line_per_entry() -> None:
    board = make_leaderboard(rows())
    lines = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [line["splitter"] for line in lines] == ["toy", "other"]
    assert [float(line["accuracy_loss"]) for line in lines] == [
        found["accuracy_loss"] for found in leaderboard_objects(board)
    ]
    assert to_csv(make_leaderboard([])) == ""


def test_markdown_has_a_table_per_section_and_the_failures() -> None:
    text = to_markdown(make_leaderboard([toy_row(label="a|b"), toy_row(seed=1, state=State.TIMEOUT)]))
    assert "### digits · simcnn" in text
    assert "| – | a\\|b | 1/2 | 90.0 | 88.0 | 2.00 | 40.0 | – | – |" in text
    assert "seed 1: timeout: a reason" in text


def test_latex_escapes_what_it_must() -> None:
    text = to_latex(make_leaderboard([toy_row(label="50 % & more_")]))
    assert r"50 \% \& more\_" in text
    assert r"loss $\downarrow$ & kernels $\downarrow$" in text
    assert r" & \% & \% & points & \%" in text
    assert r"92.0 & $-$2.00" in to_latex(make_leaderboard([toy_row(loss=-0.02)]))


def test_latex_labels_are_unique_though_titles_differ_in_signs_alone() -> None:
    tables = [TextTable(title, ["name"], "l", [["x"]]) for title in ("a_b", "a-b", "方法")]
    text = Document(tables, {}, []).text("latex")
    assert re.findall(r"label{(.*)}", text) == ["tab:a-b", "tab:a-b-2", "tab:table"]


def test_latex_breaks_long_names() -> None:
    text = to_latex(make_leaderboard([toy_row(label="a long name " * 5)]))
    assert r"\begin{tabular}{rp{0.3\linewidth}r" in text


@pytest.mark.parametrize("width", [100, 80, 70])
def test_a_narrow_terminal_drops_whole_columns_by_priority(width: int) -> None:
    text = plain(leaderboard_view(make_leaderboard(rows())), width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("rank", "splitter", "2/3", "composed ↑", "40.50 ±6.35", "kernels ↓"):
        assert part in text
    assert ("split ↓" in text) == (width >= 80)
    assert ("FLOPs ↓" in text) == (width >= 100)
    assert ("Too narrow for " in text) == (width < 100)


def test_a_terminal_that_is_too_narrow_says_what_it_leaves_out_and_how_to_see_it() -> None:
    text = plain(leaderboard_view(make_leaderboard(rows())), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert "40.50 ±6.35" in text, "the measure that ranks stays"
    note = " ".join(text[text.index("Too narrow for ") :].split())
    assert note.startswith("Too narrow for base, FLOPs, split, sum, kernels; COLUMNS=160 or --columns shows them.")


def test_a_terminal_that_is_too_narrow_folds_names_and_rules_before_it_cuts_the_measure_that_ranks() -> None:
    patches = [patch_record(target, rule) for target in "38" for rule in ("min_max_clipped", "temperature")]
    text = plain(leaderboard_view(make_leaderboard([patching_row(patches)])), 44)
    assert max(map(len, text.splitlines())) <= 44
    assert text.count("25.00 ±0.00") == 2
    assert "F1 gain ↑" in text


def test_latex_keeps_its_notes_within_the_table_and_has_labels() -> None:
    board = make_leaderboard([*rows(), on_cifar(patching_row([patch_record("3"), patch_record("8")]))])
    text = to_latex(board)
    tables = re.findall(r"\\begin{table}.*?\\end{table}", text, re.DOTALL)
    assert len(tables) == 2
    outside = re.sub(r"\\begin{table}.*?\\end{table}", "", text, flags=re.DOTALL)
    assert all(line.startswith("%") for line in outside.splitlines() if line), "nothing changes the rest of the paper"
    assert [re.findall(r"\\label{(.*?)}", table) for table in tables] == [
        ["tab:patching-cifar10-simcnn"], ["tab:toy-digits-simcnn"],
    ]  # fmt: skip
    patching, splitting = tables
    assert "ranked after the complete" in splitting
    assert "ranked after the complete" not in patching
    assert "ref: published figures" in patching
    assert "ref" not in to_latex(without_references(board)).replace("refer", "")
    for table in tables:
        assert table.count("{") == table.count("}")


def test_a_narrow_terminal_breaks_texts_between_words_and_names_before_numbers() -> None:
    lines = [["1 scalesplitter thorough", "1.50", "55.63 [36.18, 67.93]"]]
    view = Document([TextTable("t", ["method", "mean rank", "IQM, points"], "lrr", lines)], {}, []).view()
    assert [line.split() for line in plain(view, 45).splitlines()[2:-1] if "─" not in line] == [
        ["mean"],
        ["method", "rank", "IQM,", "points"],
        ["1", "1.50", "55.63", "[36.18,", "67.93]"],
        ["scalesplitter"],
        ["thorough"],
    ]
