from __future__ import annotations

from pathlib import Path

from benchmarks.rows.documentation import rows_markdown
from benchmarks.rows.row import Row

PAGE = Path(__file__).parents[3] / "docs" / "rows.md"


def test_the_page_about_rows_is_current() -> None:
    assert PAGE.read_text() == rows_markdown(), "run: python -m benchmarks.rows.documentation > docs/rows.md"


def test_every_column_is_documented() -> None:
    text = rows_markdown()
    assert all(f"| `{name}` |" in text for name in Row.model_fields)
