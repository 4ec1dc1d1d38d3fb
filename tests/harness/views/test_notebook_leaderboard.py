from __future__ import annotations

import re

from toys import toy_row

import harness
from benchmarks.rows.row import State


def test_a_notebook_shows_each_section_as_a_table_with_its_notes() -> None:
    rows = [
        *(toy_row(seed=seed, loss=0.01 + seed / 100) for seed in range(3)),
        *(toy_row(splitter="other", seed=seed, loss=0.4 + seed / 100) for seed in range(3)),
        toy_row(splitter="other", seed=3, state=State.FAILED, kind="SplitFailedError"),
    ]
    html = harness.make_leaderboard(rows)._repr_html_()
    assert html.count("<table>") == 1
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"<tr>(.*?)</tr>", html)]
    assert lines[0][:3] == ["rank", "splitter", "seeds"]
    assert [line[:3] for line in lines[1:3]] == [["1", "toy", "3"], ["2", "other", "3/4"]]
    assert "2.00 ±2.48" in lines[1]
    assert html.startswith("<p>digits · simcnn</p>")
    assert "<p>1 cell is not ok: &#x27;splitbench show CELL_ID&#x27; says why.</p>" in html


def test_labels_are_text_not_html() -> None:
    html = harness.make_leaderboard([toy_row(label="<b onload=x>&\u202e")])._repr_html_()
    assert r"&lt;b onload=x&gt;&amp;\u202e" in html
    assert "<b" not in html


def test_no_rows_are_said_to_be_none() -> None:
    assert harness.make_leaderboard([])._repr_html_() == "<p>No rows yet.</p>"
