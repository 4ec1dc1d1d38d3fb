from __future__ import annotations

from pathlib import Path

from benchmarks.records import Row
from benchmarks.rows_doc import rows_markdown

PAGE = Path(__file__).parents[2] / "docs" / "rows.md"


def test_the_page_about_rows_is_current() -> None:
    assert PAGE.read_text() == rows_markdown(), "run: python -m benchmarks.rows_doc > docs/rows.md"


def test_every_column_is_documented() -> None:
    text = rows_markdown()
    assert all(f"| `{name}` |" in text for name in Row.model_fields)
