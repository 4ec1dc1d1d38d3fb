"""The tutorial runs as it is written, and the outputs that it shows are those of such a run."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def run_cell(source: str, scope: dict[str, Any]) -> list[str]:
    """Runs a cell as a notebook does; returns what it prints, and the value of its last line as it is shown."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), scope)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope) if last else None
    shown = [] if value is None else [value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)]
    return ([printed.getvalue()] if printed.getvalue() else []) + shown


def stored(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    return "".join(output["text"] if "text" in output else data.get("text/html", data.get("text/plain")))


def without_numbers(text: str) -> str:
    # Accuracies and counts differ a little between machines.
    return re.sub(r" *[\d.,]+", "N", text)


def percent(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"([\d.]+)%", text)]


@pytest.mark.slow
def test_the_tutorial_runs_and_shows_what_such_a_run_gives() -> None:
    cells = [cell for cell in json.loads(TUTORIAL.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    scope: dict[str, Any] = {"__name__": "__main__"}
    outputs = [run_cell("".join(cell["source"]), scope) for cell in cells]
    for number, (cell, output) in enumerate(zip(cells, outputs, strict=True), start=1):
        assert cell["execution_count"] == number
        assert [without_numbers(stored(kept)) for kept in cell["outputs"]] == [without_numbers(text) for text in output]
    (trained,), (composed, three_classes), (weak, weak_all, patched, patched_all), (loaded,) = (
        percent(outputs[index][0]) for index in (1, 4, 5, 6)
    )
    assert min(trained, composed, three_classes) > 90
    assert patched > weak
    assert loaded == patched_all > weak_all
