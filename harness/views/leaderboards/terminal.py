"""Leaderboards as rich shows them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from benchmarks.boards import Board, Column
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section
from harness.store import StoreContents
from harness.text import printable
from harness.views.failures import failures_view, unreadable_view
from harness.views.leaderboards.entry_text import (
    ARROWS,
    PUBLISHED_TITLE,
    REFERENCE,
    measure_text,
    published_notes,
    rank_text,
    reference_entries,
    seeds_heading,
    seeds_text,
    table_notes,
    variant_texts,
)

_NAME_WIDTHS = 12, 16
"""Least width of the column of names: that of their longest word, within these limits."""


def leaderboard_view(
    board: Leaderboard, *, contents: StoreContents | None = None, results: str = "", empty: str = "No rows yet."
) -> RenderableType:
    """Return a leaderboard for the terminal: a table per section, failures, damaged files.

    Args:
        board: The leaderboard.
        contents: The store's contents, for the files that could not be read.
        results: The store's location, for commands in hints.
        empty: What stands for a board without rows.
    """
    parts: list[RenderableType] = []
    for section in board.sections:
        parts += [Text(section.title, style="bold"), _SectionTable(section, reference_entries(board, section))]
    if not board.sections:
        parts.append(Text(empty))
    else:
        parts.append(Text(_legend(board), style="dim"))
    if board.published:
        parts.append(Text("\n".join([PUBLISHED_TITLE, *published_notes(board)]), style="dim"))
    if board.failures:
        parts += [Text(), failures_view(board.failures, results=results)]
    if contents is not None and (contents.damaged or contents.being_written):
        parts += [Text(), unreadable_view(contents)]
    return Group(*parts)


class _SectionTable:
    """A section's table; on a narrow terminal, columns are left out by their priority."""

    def __init__(self, section: Section, references: Sequence[tuple[str, Entry]]) -> None:
        self._section = section
        self._entries = section.entries
        self._references = references
        self._sort = section.sort

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the widest table that fits, and say which columns do not."""
        shown = [*self._entries, *(entry for _, entry in self._references)]
        columns = [_Column(column, self._section.board, shown) for column in self._section.columns]
        dropped: list[_Column] = []
        for measure in self._droppable():
            if self._least_width(columns) <= options.max_width:
                break
            dropped += [column for column in columns if column.measure == measure]
            columns = [column for column in columns if column.measure != measure]
        yield self._table(columns, folds_variants=self._least_width(columns) > options.max_width)
        if dropped:
            names = ", ".join(column.heading[0].rstrip(" ↑↓") for column in dropped)
            wider = "a wider terminal" if console.is_terminal else "COLUMNS=160"
            yield Text(f"Too narrow for {names}; {wider} or --columns shows them.\n", style="dim")

    def _droppable(self) -> list[str]:
        """Return the measures in the order in which a narrow terminal leaves them out; that which ranks stays."""
        columns = [column for column in self._section.columns if column.measure != self._sort]
        by_priority = sorted(
            (column.drop_priority, column.measure) for column in columns if column.drop_priority is not None
        )
        first = [measure for _, measure in by_priority] if self._section.shown is None else []
        return [*first, *(column.measure for column in reversed(columns) if column.measure not in first)]

    def _least_width(self, columns: Sequence[_Column]) -> int:
        return self._fixed_width(columns) + self._variants_width() + self._name_width()

    def _name_width(self) -> int:
        least, most = _NAME_WIDTHS
        words = (word for entry in self._entries for word in printable(entry.label).split())
        return max(least, min(most, max(map(len, words), default=0)))

    def _fixed_width(self, columns: Sequence[_Column]) -> int:
        """Return the width of everything but names: two spaces between columns, one at each edge."""
        seeds = max(map(len, [seeds_heading(self._section), *map(seeds_text, self._entries)]))
        return len("rank") + seeds + sum(column.width for column in columns) + 2 * (len(columns) + 2) + 2

    def _variants_width(self) -> int:
        texts = [[key, *(entry.texts.get(key, "") for entry in self._entries)] for key in self._section.variants]
        return sum(max(map(len, column)) + 2 for column in texts)

    def _table(self, columns: Sequence[_Column], *, folds_variants: bool) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("splitter", overflow="fold", min_width=None if folds_variants else self._name_width())
        for key in self._section.variants:
            # Names and variants may be folded, numbers may not be cut.
            table.add_column(key.replace("_", " "), overflow="fold", no_wrap=not folds_variants)
        table.add_column(seeds_heading(self._section), justify="right", no_wrap=True)
        for column in columns:
            style = "bold" if column.measure == self._sort else None
            table.add_column("\n".join(column.heading), justify="right", no_wrap=True, style=style)
        for row, entry in enumerate(self._entries):
            table.add_row(
                rank_text(entry),
                printable(entry.label),
                *variant_texts(self._section, entry),
                seeds_text(entry),
                *(column.texts[row] for column in columns),
                style="green" if entry.rank == 1 else "dim" if entry.rank is None else None,
            )
        for row, (label, entry) in enumerate(self._references, start=len(self._entries)):
            texts = [REFERENCE, label, *variant_texts(self._section, entry), seeds_text(entry)]
            table.add_row(*texts, *(column.texts[row] for column in columns), style="dim italic")
        return table


class _Column:
    """A column of numbers, as text."""

    def __init__(self, column: Column, board: Board, entries: Sequence[Entry]) -> None:
        self.measure = column.measure
        self.heading = (f"{column.heading} {ARROWS[board.better(column.measure)]}".strip(), column.unit)
        self.texts = [measure_text(entry, column) for entry in entries]
        self.width = max(map(len, [*self.heading, *self.texts]))


def _legend(board: Leaderboard) -> str:
    subjects = sorted({section.board.subjects for section in board.sections})
    sorts = {section.sort for section in board.sections}
    lines = [
        f"Means over {' or '.join(subjects)}; ↑ ↓ say which direction is better; ± is half a 95 % t-interval.",
        f"Ordered by {' or '.join(sorted(sorts))}.",
    ]
    return "\n".join([*lines, *table_notes(board)])
