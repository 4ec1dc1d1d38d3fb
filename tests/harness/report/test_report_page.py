from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from report_rows import CLASSES, METHODS, data_of, example_rows, example_store, searched_row
from toys import toy_cell, toy_row

from benchmarks.rows.row import Row
from harness.ranking.leaderboard import Section
from harness.report.charts.chart import Chart
from harness.report.charts.matrices.dendrogram import Dendrogram
from harness.report.charts.matrices.modules import jaccard_distances
from harness.report.charts.pareto import pareto_charts
from harness.report.charts.reuse import best_fusion
from harness.report.data import ReportData
from harness.report.figures import write_latex
from harness.report.page import make_page, topics
from harness.report.tables import warning_table
from harness.report.verdict import caveats, overview, verdicts
from harness.store import ResultStore
from harness.suite_cell import ID_LENGTH


class _Page(HTMLParser):
    """The elements of a page, the text outside of scripts and styles, and the data in scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.headings: list[str] = []
        self.text = ""
        self.data: dict[str, str] = {}
        self.sources: list[str] = []
        self._inside: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.sources += [value or "" for name, value in attributes if name == "src"]
        self._inside.append((tag, dict(attributes).get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, name = self._inside[-1] if self._inside else ("", "")
        if tag == "h2":
            self.headings.append(data)
        if tag == "script" and name:
            self.data[name] = self.data.get(name, "") + data
        elif tag not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    store = example_store(tmp_path_factory.mktemp("rows") / "a 'result'")
    return ReportData(store, store.read())


@pytest.fixture(scope="module")
def html(data: ReportData) -> str:
    return make_page(data, topics(data, []), notes=["a <note>"])


def test_it_has_every_part_in_order(html: str) -> None:
    assert _Page(html).headings == [
        "What was run, and the verdict",
        "Leaderboards",
        "Accuracy against cost",
        "At equal budgets",
        "What modules keep",
        "How the searches went",
        "Sensitivity of layers",
        "Patches",
        "Composed models",
        "Time and memory",
        "Failures and warnings",
        "Provenance",
        "Cells, and how to run each again",
    ]


def test_names_are_shown_as_they_are_and_never_become_elements(html: str) -> None:
    page = _Page(html)
    assert not {"b", "i", "em", "u"} & set(page.tags)
    assert page.tags["script"] == 4
    for text in (*METHODS, "no <em>weights</em>", "the <u>base</u> model is weak", "a <note>"):
        assert text in page.text
    specs = json.loads(page.data["charts-data"])
    classes = specs["retention-0-0"]["data"]["packed"]["class"]
    assert classes["texts"] == [CLASSES[0], CLASSES[1], r"dog\u202e"]
    assert "\u202e" not in html


def test_the_page_names_no_other_file(html: str) -> None:
    page = _Page(html)
    assert not {"link", "img", "iframe", "object", "base"} & set(page.tags)
    assert page.sources == []
    assert "default-src 'none'" in html


def test_every_cell_has_a_command(html: str, data: ReportData) -> None:
    index = json.loads(_Page(html).data["cells-data"])
    assert {line[0] for line in index["lines"]} == {row.cell_id[:ID_LENGTH] for row in example_rows()}
    quoted = data.results.replace("'", "'\"'\"'")
    assert index["options"] == f"--results '{quoted}'"
    failed = next(line for line in index["lines"] if index["texts"][line[7]] == "failed")
    assert (index["texts"][failed[2]], failed[6]) == ("toy", 7)


def test_the_verdict_names_the_best_and_what_the_test_separates_from_it(data: ReportData) -> None:
    found = {verdict.title: verdict.sentences for verdict in verdicts(data)}
    first, *others = found["modularization · digits · simcnn"]
    assert first.startswith(
        "toy (score head) has the lowest mean accuracy loss: 1.10 ±0.25 points at 40.0 % of the kernels"
    )
    assert others[0].startswith("It is better than <b>bold</b> (score moments; 5.10 ±0.25 points")
    assert "so this order may be chance" in found["accuracy_composition · digits · simcnn"][1]


def test_a_later_rank_alone_makes_nobody_worse(tmp_path: Path) -> None:
    losses = {"best": (0.0, 0.01, 0.02), "steady": (0.05, 0.06, 0.07), "wild": (0.01, 0.1, 0.3)}
    rows = [
        toy_row(loss=loss, cell=toy_cell(loss=number, seed=seed), label=label)
        for number, (label, values) in enumerate(losses.items())
        for seed, loss in enumerate(values)
    ]
    data = data_of(tmp_path, rows)
    assert [entry.rank for entry in data.sections[0].entries] == [1, 2, 2]
    (found,) = verdicts(data)
    assert found.sentences[1].startswith("The test does not separate it from wild (")
    assert found.sentences[2].startswith("It is better than steady (")
    assert "wild" not in found.sentences[2]


def test_entries_of_which_none_has_all_seeds_are_tested_on_those_that_they_share(tmp_path: Path) -> None:
    losses = {"one": (0.0, 0.01, 0.02, 0.03, None), "other": (None, 0.11, 0.12, 0.13, 0.14)}
    (found,) = verdicts(data_of(tmp_path, _rows_of(losses)))
    assert found.sentences[0].startswith(
        "On the seeds that all have (1, 2, 3), one has the lowest mean accuracy loss: 2.00"
    )
    assert found.sentences[1].startswith("It is better than other (12.00 ±")


@pytest.mark.parametrize(
    ("losses", "sentences"),
    [
        (
            {"one": (0.3, 0.02, 0.03), "other": (None, 0.01, 0.01)},
            [
                "Of those with a value on every seed, one has the lowest mean accuracy loss: 11.67 ±39.46 points at "
                "40.0 % of the kernels.",
                "Left out for missing seeds: other.",
            ],
        ),
        (
            {"one": (0.1, 0.1, None, None), "other": (None, None, 0.2, 0.2)},
            ["one, other have no seed in common, so their means do not compare."],
        ),
    ],
)  # fmt: skip
def test_the_verdict_compares_no_means_over_different_seeds(
    tmp_path: Path, losses: Mapping[str, Sequence[float | None]], sentences: list[str]
) -> None:
    (found,) = verdicts(data_of(tmp_path, _rows_of(losses)))
    assert list(found.sentences) == sentences


def _rows_of(losses: Mapping[str, Sequence[float | None]]) -> list[Row]:
    """Return a row for each loss, by label and seed; None stands for a seed that was not run."""
    return [
        toy_row(loss=loss, cell=toy_cell(loss=number, seed=seed), label=label)
        for number, (label, values) in enumerate(losses.items())
        for seed, loss in enumerate(values)
        if loss is not None
    ]


def test_it_says_what_was_run_and_what_to_beware_of(data: ReportData) -> None:
    assert overview(data)[0] == "16 cells of toys: 15 ok, 1 failed."
    text = " ".join(caveats(data))
    assert "1 cell did not succeed and has no part in any mean: toy · simcnn · digits · seed 7." in text
    assert "3 cells succeeded with warnings" in text


def test_an_entry_with_too_few_seeds_does_not_make_its_table_look_untested(tmp_path: Path) -> None:
    rows = [searched_row(label, loss, seed) for label, loss in (("a", 0.1), ("b", 0.2)) for seed in range(3)]
    data = data_of(tmp_path, [*rows, searched_row("c", 0.3, 0)])
    assert caveats(data)[-1] == "Too few seeds, classes or tasks for a test: c in digits · simcnn."


def test_scenarios_that_share_a_split_show_its_search_once(tmp_path: Path) -> None:
    row = searched_row("toy", 0.1, 0)
    changes = {"scenario": "patching", "scenario_version": 2, "scenario_code": "of a plug-in"}
    cell = toy_cell(loss=0.1).model_copy(update=changes)
    patched = toy_row(loss=None, cell=cell, label="toy")
    data = data_of(tmp_path, [row, patched])
    assert dict(zip(data.rows.values("scenario"), data.is_first_of_split.tolist(), strict=True)) == {
        "modularization": True, "patching": False,
    }  # fmt: skip


def test_warnings_that_differ_in_numbers_share_a_line_that_counts_cells(tmp_path: Path) -> None:
    texts = ["round 1: dead modules: '3'.", "round 12: dead modules: '0', '7'.", "the base model is weak"]
    rows = [searched_row("toy", 0.1, seed).model_copy(update={"warnings": texts}) for seed in range(2)]
    table = warning_table(data_of(tmp_path, rows))
    assert table is not None
    assert [[cell.text for cell in line[:2]] for line in table.lines] == [["2", texts[0]], ["2", texts[2]]]


def test_charts_beyond_the_limit_are_not_made(data: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def charts(data: ReportData, number: int, section: Section) -> Iterator[Chart]:
        for index in range(3):
            made.append(number)
            yield Chart(f"{number}-{index}", "", "", {})

    monkeypatch.setattr("harness.report.page._BY_SECTION", (("modules", "Modules", "", (charts,)),))
    monkeypatch.setattr("harness.report.page.MAX_CHARTS", 4)
    shown = next(topic for topic in topics(data, []) if topic.name == "modules")
    assert [chart.name for chart in shown.charts] == ["0-0", "0-1", "0-2", "1-0"]
    assert shown.notes == ["The first 4 charts are shown; there are more."]
    assert made == [0, 0, 0, 1, 1], "one more is made to know whether there are more"


def test_latex_can_hold_back_all_figures_between_two_page_breaks(data: ReportData, tmp_path: Path) -> None:
    list(write_latex(data, [Chart(str(number), "", "", {}) for number in range(25)], tmp_path))
    parts = (tmp_path / "figures.tex").read_text().split("\n\\clearpage")
    assert [part.count("\\begin{figure}") for part in parts] == [12, 12, 1]


def test_an_empty_store_has_a_report(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    data = ReportData(store, store.read())
    assert "There are no rows yet." in make_page(data, topics(data, []))


def test_distances_come_from_sizes_and_shared_kernels() -> None:
    # |A| = 5, |B| = 8, |C| = 16; A and B share 2, A and C 5, B and C 8.
    assert jaccard_distances(searched_row("toy", 0.1, 0)) == [
        [0.0, pytest.approx(1 - 2 / 11), pytest.approx(1 - 5 / 16)],
        [pytest.approx(1 - 2 / 11), 0.0, pytest.approx(1 - 8 / 16)],
        [pytest.approx(1 - 5 / 16), pytest.approx(1 - 8 / 16), 0.0],
    ]


def test_alike_modules_become_neighbours() -> None:
    near, far = 0.1, 0.9
    tree = Dendrogram.of([[0, far, near, far], [far, 0, far, near], [near, far, 0, far], [far, near, far, 0]])
    assert {frozenset(tree.leaves[:2]), frozenset(tree.leaves[2:])} == {frozenset({0, 2}), frozenset({1, 3})}
    pair, other, both = tree.merges
    assert pair == [(0, 0), (0, near), (1, near), (1, 0)]
    assert other == [(2, 0), (2, near), (3, near), (3, 0)]
    assert both == [(0.5, near), (0.5, pytest.approx(far)), (2.5, pytest.approx(far)), (2.5, near)]


def test_the_fusion_rule_of_a_chart_is_chosen_on_select(data: ReportData) -> None:
    rows = data.by_method(next(s for s in data.sections if s.scenario == "patching"))["toy"]
    better = [
        {**patch, "select_tc_f1_held_out": 0.95, "tc_f1_after": 0.1}
        if patch["fusion"] == "platt"
        else {**patch, "select_tc_f1_after": 0.97, "select_tc_f1_held_out": 0.9}
        for patch in data.patches(rows).to_pylist()
    ]
    assert best_fusion(pa.Table.from_pylist(better)) == "platt"


def _rows_on_a_curve(n: int) -> list[Row]:
    return [
        searched_row("toy", 0.1, seed).model_copy(
            update={"accuracy_loss": (seed + 1) / 1000, "kernel_retention": 1 - seed / (2 * n)}
        )
        for seed in range(n)
    ]


def test_large_charts_show_a_sample_with_the_whole_front_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.charts.pareto.MAX_POINTS", 4)
    store = ResultStore(tmp_path)
    for row in _rows_on_a_curve(12):
        store.write(row)
    data = ReportData(store, store.read())
    chart = next(pareto_charts(data, 0, data.sections[0]))
    _, front, points = (layer["data"]["values"] for layer in chart.spec["layer"])
    assert [len(front), len(points)] == [12, 4]
    assert "4 of 12 cells are drawn" in chart.caption


def test_a_page_for_others_holds_no_secret_of_its_location(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write(toy_row())
    store.location = "s3://key:secret@bucket/rows"
    data = ReportData(store, store.read())
    page = make_page(data, topics(data, []))
    assert "s3://bucket/rows" in page
    assert "secret@" not in page
