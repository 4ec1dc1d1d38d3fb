"""Leaderboards as notebooks show them."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.rows.row import Row
from harness.ranking import leaderboard
from harness.ranking.leaderboard import Leaderboard
from harness.text import printable
from harness.views.leaderboards.entry_text import PUBLISHED_TITLE, published_notes, table_notes
from harness.views.leaderboards.formats import section_headings, section_lines
from splitters.modules.html_table import html_paragraph, html_table


class NotebookLeaderboard(Leaderboard):
    """A leaderboard that a notebook shows as tables."""

    def _repr_html_(self) -> str:
        """Return a table per section, and the notes on them."""
        parts = []
        for section in self.sections:
            rows = [[printable(cell) for cell in line] for line in section_lines(self, section)]
            parts += [html_paragraph(printable(section.title)), html_table(section_headings(section), rows)]
        if not self.sections:
            parts.append(html_paragraph("No rows yet."))
        notes = table_notes(self) + ([PUBLISHED_TITLE, *published_notes(self)] if self.published else [])
        if self.failures:
            cells = "1 cell is" if len(self.failures) == 1 else f"{len(self.failures)} cells are"
            notes.append(f"{cells} not ok: 'splitbench show CELL_ID' says why.")
        return "".join([*parts, *(html_paragraph(printable(note)) for note in notes)])


def make_leaderboard(
    latest: Iterable[Row], *, scenario: str | None = None, sort: str | None = None
) -> NotebookLeaderboard:
    """Rank splitters, as ``harness.ranking.leaderboard.make_leaderboard`` does, for a notebook.

    Args:
        latest: The attempt that counts of each cell, e.g. ``RunReport.latest()``.
        scenario: Show only this one.
        sort: The measure to rank by; the scenario's own by default.

    Raises:
        UnknownNameError: If there is no such scenario or measure.
    """
    board = leaderboard.make_leaderboard(latest, scenario=scenario, sort=sort)
    return NotebookLeaderboard(board.sections, board.failures)
