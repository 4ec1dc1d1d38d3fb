"""HTML for notebooks, in which every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; all columns but the first are aligned to the right."""
    lines = [_row("th", headings), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def html_paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def _row(tag: str, cells: Sequence[str]) -> str:
    first, *others = map(escape, cells)
    numbers = "".join(f'<{tag} style="text-align: right">{cell}</{tag}>' for cell in others)
    return f'<tr><{tag} style="text-align: left">{first}</{tag}>{numbers}</tr>'
