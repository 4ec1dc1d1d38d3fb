from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_row

from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultStore(tmp_path / "r")
    for seed in range(3):
        store.write(toy_row(seed=seed))
    return tmp_path / "r"


def test_it_writes_a_page_and_says_where(call: Call, results: Path, tmp_path: Path) -> None:
    result = call("report", results, "--out", tmp_path / "new" / "page.html")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tmp_path / 'new' / 'page.html'}: 3 cells, 1 charts, ")
    assert "<!doctype html>" in (tmp_path / "new" / "page.html").read_text().lower()


def test_figures_are_as_wide_as_a_column_and_latex_names_them(call: Call, results: Path, tmp_path: Path) -> None:
    page, folder = tmp_path / "page.html", tmp_path / "figures"
    result = call("report", results, "--out", page, "--figures", folder, "--latex", "--json")
    written = json.loads(result.stdout)
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(Path(path).name for path in written["figures"]) == names
    assert names == [
        "figures.tex", "pareto-0-kernel_retention.pdf", "pareto-0-kernel_retention.png",
        "pareto-0-kernel_retention.svg", "tables.tex",
    ]  # fmt: skip
    assert '<svg xmlns="http://www.w3.org/2000/svg" ' in (folder / names[3]).read_text()
    assert 'width="240"' in (folder / names[3]).read_text()
    assert b"/MediaBox [0 0 240 " in (folder / names[1]).read_bytes()
    assert "var(--" not in (folder / names[3]).read_text()
    assert "\\includegraphics[width=240bp]{pareto-0-kernel_retention.pdf}" in (folder / "figures.tex").read_text()


def test_latex_needs_a_folder(call: Call, results: Path) -> None:
    result = call("report", results, "--latex")
    assert result.exit_code == 2
    assert "add --figures DIR" in result.stderr


def test_a_folder_without_results_is_an_error(call: Call, tmp_path: Path) -> None:
    result = call("report", tmp_path / "none", "--out", tmp_path / "page.html")
    assert result.exit_code == 2
    assert not (tmp_path / "page.html").exists()
