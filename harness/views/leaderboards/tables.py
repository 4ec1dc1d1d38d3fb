"""Tables of text, and documents made of them: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from harness.text import indented_json, latex_text, markdown_text, printable


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are texts.

    Args:
        title: What stands above it.
        headings: The headings of its columns.
        alignment: ``l`` or ``r`` for each column.
        lines: Its lines, a text per column.
        bold: Indices of lines that the terminal emphasises.
        notes: What LaTeX prints below the table, inside its float; other formats have notes of their own.
    """

    title: str
    headings: Sequence[str]
    alignment: str
    lines: Sequence[Sequence[str]]
    bold: frozenset[int] = frozenset()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """Tables and notes, in every output format.

    Args:
        blocks: Tables, and notes as text, in their order.
        values: Everything as plain values, for JSON.
        records: An object per line of CSV.
    """

    blocks: Sequence[TextTable | str]
    values: Any
    records: Sequence[Mapping[str, Any]]

    def view(self) -> RenderableType:
        """Return it for the terminal."""
        parts: list[RenderableType] = []
        for block, before in zip(self.blocks, [None, *self.blocks], strict=False):
            if isinstance(block, str):
                parts.append(Text(block))
            else:
                gap = [Text()] if isinstance(before, str) else []
                parts += [*gap, Text(block.title, style="bold"), _TerminalTable(block)]
        return Group(*parts)

    def text(self, form: str) -> str:
        """Return it as ``json``, ``md``, ``csv`` or ``latex``."""
        return {"json": self._json, "md": self._markdown, "csv": self._csv, "latex": self._latex}[form]()

    def _json(self) -> str:
        return indented_json(self.values)

    def _csv(self) -> str:
        return csv_text(self.records)

    def _markdown(self) -> str:
        blocks = [markdown_lines(b) if isinstance(b, TextTable) else [markdown_text(b), ""] for b in self.blocks]
        return "\n".join(line for lines in blocks for line in lines).strip()

    def _latex(self) -> str:
        labels = iter(latex_labels([block for block in self.blocks if isinstance(block, TextTable)]))
        blocks = [latex_lines(b, next(labels)) if isinstance(b, TextTable) else [latex_note(b)] for b in self.blocks]
        return "\n".join([LATEX_PREAMBLE, *(line for lines in blocks for line in lines)])


class _TerminalTable:
    """A table in a terminal: on a narrow one, its texts are broken between words."""

    def __init__(self, table: TextTable) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        table = self._table
        lines = [[*map(printable, line)] for line in (table.headings, *table.lines)]
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        widths = _widths([*zip(*lines, strict=True)], options.max_width)
        for heading, side, width in zip(lines[0], table.alignment, widths, strict=True):
            shown.add_column(heading, justify="right" if side == "r" else "left", overflow="fold", width=width)
        for index, line in enumerate(lines[1:]):
            shown.add_row(*line, style="bold" if index in table.bold else None)
        yield shown


def _widths(columns: Sequence[Sequence[str]], available: int) -> Sequence[int | None]:
    """Return the columns' widths if they fit with no word broken, numbers before names; else None for each."""
    least = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in columns]
    spare = available - sum(least) - 2 * len(columns)
    if spare < 0:
        return [None] * len(columns)
    widths = []
    for column, width in zip(reversed(columns), reversed(least), strict=True):
        more = min(spare, max(map(cell_len, column)) - width)
        widths.append(width + more)
        spare -= more
    return widths[::-1]


def markdown_lines(table: TextTable) -> list[str]:
    """Return the lines of a table in Markdown, its title as a heading."""
    rule = ["---:" if side == "r" else ":---" for side in table.alignment]
    return [f"### {markdown_text(table.title)}", "", *map(_markdown_line, [table.headings, rule, *table.lines]), ""]


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"


LATEX_PREAMBLE = r"% needs \usepackage{booktabs}"


_MAX_UNBROKEN = 40
"""Columns with longer texts than this are given a width in LaTeX, where they are broken."""


def latex_lines(table: TextTable, label: str) -> list[str]:
    """Return the lines of a ``booktabs`` table, complete: caption, label, and its notes inside the float."""
    names, units = zip(*map(_name_and_unit, table.headings), strict=True)
    return [
        r"\begin{table}",
        r"\centering\small",
        r"\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{latex_text(table.title)}}}",
        f"\\label{{tab:{label}}}",
        f"\\begin{{tabular}}{{{_latex_columns(table)}}}",
        r"\toprule",
        _latex_line(names),
        *([_latex_line(units)] if any(units) else []),
        r"\midrule",
        *map(_latex_line, table.lines),
        r"\bottomrule",
        r"\end{tabular}",
        *_latex_notes(table.notes),
        r"\end{table}",
    ]


def latex_labels(tables: Sequence[TextTable]) -> list[str]:
    """Return a label for each table, each once, made of the titles' letters and digits."""
    slugs = ["-".join(re.findall("[a-z0-9]+", table.title.lower())) or "table" for table in tables]
    earlier = [slugs[:number].count(slug) for number, slug in enumerate(slugs)]
    return [f"{slug}-{count + 1}" if count else slug for slug, count in zip(slugs, earlier, strict=True)]


def _latex_columns(table: TextTable) -> str:
    longest = [max(map(len, texts), default=0) for texts in zip(*table.lines, strict=True)] or [0] * len(table.headings)
    return "".join(
        r"p{0.3\linewidth}" if length > _MAX_UNBROKEN and side == "l" else side
        for side, length in zip(table.alignment, longest, strict=True)
    )


def _name_and_unit(heading: str) -> tuple[str, str]:
    """Return a heading as two lines, since a paper's column is narrow: the name with its arrow, and the unit."""
    match = re.fullmatch(r"(.*?),? (%|points)( [↑↓])?", heading)
    return (match[1] + (match[3] or ""), match[2]) if match else (heading, "")


def _latex_notes(notes: Sequence[str]) -> list[str]:
    """Return notes in a box of the table's float, where their font ends with it."""
    lines = [rf"{latex_text(note)}\par" for note in notes]
    return [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize", *lines, r"\end{minipage}"] if lines else []


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"


def latex_note(text: str) -> str:
    """Return a note below tables."""
    return rf"\par {{\footnotesize {latex_text(text)}\par}}"


def csv_text(objects: Sequence[Mapping[str, Any]], *, without: frozenset[str] = frozenset()) -> str:
    """Return a heading and a line per object; lists are joined by spaces; empty if there are no objects."""
    text = io.StringIO()
    if objects:
        names = list(dict.fromkeys(name for values in objects for name in values if name not in without))
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _csv_cell(value) for name, value in values.items()} for values in objects)
    return text.getvalue().rstrip("\n")


def _csv_cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value
