"""Leaderboards, plans and rows as rich shows them in a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from benchmarks.boards import Board, Column
from benchmarks.records import Row, State
from harness.curves import sensitivity_view
from harness.leaderboard import Entry, Leaderboard, Section
from harness.plan import Plan, PlannedCell, Status
from harness.reuse_views import reuse_views
from harness.statistics import Estimate
from harness.store import StoreContents
from harness.suite_cell import cell_title

ID_LENGTH = 10
"""Characters of a cell's id on screen; ``splitbench show`` takes any unambiguous beginning."""

_STATE_STYLES = {State.OK: "green", State.SKIPPED: "dim", State.INTERRUPTED: "yellow", State.TIMEOUT: "yellow"}
ARROWS = {"higher": "↑", "lower": "↓", None: ""}
"""What marks the better direction."""

REFERENCE = "ref"
"""What stands in the place of a rank where a figure was not measured here."""

PUBLISHED_TITLE = "ref: published figures, not measured here, of other data, networks and training:"

_NAME_WIDTH = 12


def leaderboard_view(board: Leaderboard, *, contents: StoreContents | None = None, results: str = "") -> RenderableType:
    """Returns a leaderboard for the terminal: a table per section, then what failed, then what is damaged.

    Args:
        board: The leaderboard.
        contents: The store, for what cannot be read there.
        results: The store, for the hints.
    """
    parts: list[RenderableType] = []
    for section in board.sections:
        parts += [Text(section.title, style="bold"), _SectionTable(section, reference_entries(board, section))]
    if not board.sections:
        parts.append(Text("No rows yet."))
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
    """A section's table; on a narrow terminal without the columns that can best be spared."""

    def __init__(self, section: Section, references: Sequence[tuple[str, Entry]]) -> None:
        self._section = section
        self._entries = section.entries
        self._references = references
        self._sort = section.sort

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the widest table that fits."""
        board = self._section.board
        shown = [*self._entries, *(entry for _, entry in self._references)]
        columns = [_Column(column, board, shown) for column in board.columns]
        spared = sorted(
            (column.spared, column.measure)
            for column in board.columns
            if column.spared is not None and column.measure != self._sort
        )
        for _, measure in spared:
            if _fixed_width(columns) + self._variants_width() + _NAME_WIDTH <= options.max_width:
                break
            columns = [column for column in columns if column.measure != measure]
        yield self._table(columns)

    def _variants_width(self) -> int:
        texts = [[key, *(entry.variant.get(key, "") for entry in self._entries)] for key in self._section.variants]
        return sum(max(map(len, column)) + 2 for column in texts)

    def _table(self, columns: Sequence[_Column]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("splitter", overflow="fold", min_width=_NAME_WIDTH)
        for key in self._section.variants:
            table.add_column(key.replace("_", " "), no_wrap=True)
        table.add_column("seeds", justify="right", no_wrap=True)
        for column in columns:
            style = "bold" if column.measure == self._sort else None
            table.add_column("\n".join(column.heading), justify="right", no_wrap=True, style=style)
        for row, entry in enumerate(self._entries):
            table.add_row(
                "–" if entry.rank is None else str(entry.rank),
                entry.label,
                *variant_texts(self._section, entry),
                seeds_text(entry),
                *(column.texts[row] for column in columns),
                style="green" if entry.rank == 1 else "dim" if entry.rank is None else None,
            )
        for row, (label, entry) in enumerate(self._references, start=len(self._entries)):
            told = [REFERENCE, label, *variant_texts(self._section, entry), seeds_text(entry)]
            table.add_row(*told, *(column.texts[row] for column in columns), style="dim italic")
        return table


class _Column:
    """A column of numbers, as text."""

    def __init__(self, column: Column, board: Board, entries: Sequence[Entry]) -> None:
        self.measure = column.measure
        self.heading = (f"{column.heading} {ARROWS[board.better(column.measure)]}".strip(), column.unit)
        self.texts = [measure_text(entry, column) for entry in entries]
        self.width = max(map(len, [*self.heading, *self.texts]))


def _fixed_width(columns: Sequence[_Column]) -> int:
    """Returns the width of a table but for its names: two spaces go between columns, one to each edge."""
    return len("rank") + len("seeds") + sum(column.width for column in columns) + 2 * (len(columns) + 2) + 2


def variant_texts(section: Section, entry: Entry) -> list[str]:
    """Returns what tells an entry from the section's others of the same label, a text per variant key."""
    return [entry.variant.get(key, "–") for key in section.variants]


def reference_entries(board: Leaderboard, section: Section) -> list[tuple[str, Entry]]:
    """Returns the published figures of a section that have numbers, each with a label that refers to its note."""
    shown = {column.measure for column in section.board.columns}
    return [
        (f"{reference.entry.label} [{board.published.index(reference.figure) + 1}]", reference.entry)
        for reference in section.references
        if shown & set(reference.entry.estimates)
    ]


def published_notes(board: Leaderboard) -> list[str]:
    """Returns a line for each published figure: what is reported, and where."""
    return [
        f"[{place}] {figure.splitter}: {figure.text} ({figure.source})"
        for place, figure in enumerate(board.published, start=1)
    ]


def seeds_text(entry: Entry) -> str:
    """Returns how many seeds succeeded, out of how many if some failed; a dash for what was not measured here."""
    if not entry.cell_ids:
        return "–"
    return f"{entry.n_seeds}/{entry.n_seeds + entry.n_failed}" if entry.n_failed else str(entry.n_seeds)


def measure_text(entry: Entry, column: Column) -> str:
    """Returns a number as its column writes it, or a dash where there is none."""
    estimate = entry.estimates.get(column.measure)
    if estimate is None:
        return "–"
    if column.unit == "time":
        return duration_text(estimate.mean)
    if column.unit == "points":
        return points_text(estimate)
    if column.unit == "ratio":
        return f"{estimate.mean:.2f}x"
    return f"{100 * estimate.mean:.1f}" if column.unit == "%" else f"{estimate.mean:.1f}"


def points_text(estimate: Estimate) -> str:
    """Returns a difference of fractions in points, with its interval if it has one."""
    # Adding zero turns a rounded minus zero into zero.
    text = f"{round(100 * estimate.mean, 2) + 0:.2f}"
    return text if estimate.half_width is None else f"{text} ±{100 * estimate.half_width:.2f}"


def duration_text(seconds: float) -> str:
    """Returns a time that people can read: ``0.4 s``, ``12 s``, ``3.4 min``, ``2.1 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _legend(board: Leaderboard) -> str:
    subjects = sorted({section.board.subjects for section in board.sections})
    sorts = {section.sort for section in board.sections}
    lines = [
        f"Means over {' or '.join(subjects)}; ↑ ↓ say which direction is better; ± is half a 95 % t-interval.",
        f"Ranked by {' or '.join(sorted(sorts))}; a rank is shared where intervals overlap that of its best.",
    ]
    if board.has_single_seeds:
        lines.append("One seed has no interval and is ranked by its value.")
    return "\n".join(lines)


def failures_view(failures: Sequence[Row], *, results: str = "") -> RenderableType:
    """Returns the cells that are not ``ok``, each with its reason."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("state", no_wrap=True)
    table.add_column("cell", overflow="fold")
    table.add_column("id", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for row in failures:
        state = Text(row.state.value, style=_STATE_STYLES.get(row.state, "red"))
        table.add_row(state, row_title(row), row.cell_id[:ID_LENGTH], _reason(row))
    at = f" --results {results}" if results else ""
    hint = Text(f"splitbench show {failures[0].cell_id[:ID_LENGTH]}{at}", style="cyan")
    return Group(Text("Not ok", style="bold"), table, Text("Details: ").append_text(hint))


def _reason(row: Row) -> str:
    parts = [row.failure_kind, row.reason] if row.failure_kind != row.reason else [row.reason]
    return ": ".join(part for part in parts if part)


def row_title(row: Row) -> str:
    """Returns what a row's cell is called on screen."""
    return cell_title(row.scenario, row.splitter_label or row.splitter, row.model, row.dataset, row.seed)


def unreadable_view(contents: StoreContents) -> RenderableType:
    """Returns the files of a store that are no rows, or none yet, and where they are."""
    lines = []
    if contents.damaged:
        lines.append(Text(f"{len(contents.damaged)} damaged file(s), not counted above", style="bold red"))
    for file in contents.damaged:
        place = "moved to" if file.quarantined else "left at"
        lines.append(Text(f"  {place} {file.path}" + (f" ({file.reason})" if file.reason else "")))
    if contents.being_written:
        lines.append(Text(f"{len(contents.being_written)} file(s) still being written, not counted yet"))
    lines += [Text(f"  {path}") for path in contents.being_written]
    return Group(*lines)


def plan_view(plan: Plan) -> RenderableType:
    """Returns a plan: a line per cell, and what it amounts to."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("status", no_wrap=True)
    table.add_column("cell", overflow="fold")
    table.add_column("id", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for planned in plan.cells:
        style = {Status.DONE: "green", Status.FAILED: "red", Status.TO_DO: ""}[planned.status]
        table.add_row(
            Text(planned.status.value, style=style),
            planned.item.title,
            planned.item.cell.cell_id[:ID_LENGTH],
            _planned_time(planned),
        )
    return Group(table, Text(plan_summary(plan), style="bold"))


def _planned_time(planned: PlannedCell) -> str:
    if planned.status is not Status.TO_DO:
        return duration_text(planned.earlier.seconds) if planned.earlier else ""
    return "no history" if planned.seconds is None else f"about {duration_text(planned.seconds)}"


def plan_summary(plan: Plan) -> str:
    """Returns a plan in one line: counts, and the time that it may take."""
    counts = [f"{len(plan.with_status(status))} {status.value}" for status in Status]
    line = f"{len(plan.cells)} cells: {', '.join(counts)}."
    if plan.seconds:
        line += f" About {duration_text(plan.seconds)} one after the other"
        line += f", {plan.without_history} without history." if plan.without_history else "."
    elif plan.without_history:
        line += " No history to estimate the time from."
    return line


_TABLES = (
    "layers", "modules", "patches", "compositions", "new_tasks", "sub_tasks", "sensitivity", "figures",
)  # fmt: skip
"""What a row holds in lists, and is shown in tables."""


def row_view(attempts: Iterable[Row]) -> RenderableType:
    """Returns all attempts at a cell, the last one in full."""
    rows = list(attempts)
    last = rows[-1]
    parts: list[RenderableType] = [Text(row_title(last), style="bold"), Text(last.cell_id, style="dim")]
    if len(rows) > 1:
        parts.append(Text(f"{len(rows)} attempts: {', '.join(row.state.value for row in rows)}; the last:"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in last.model_dump(mode="json", exclude={*_TABLES, "traceback", "config"}).items():
        if value not in (None, [], ""):
            grid.add_row(name, _value_text(name, value))
    parts += [grid, *_details(last)]
    if last.traceback:
        parts += [Text("\ntraceback", style="bold"), Text(last.traceback)]
    return Group(*parts)


def _value_text(name: str, value: object) -> str:
    if name == "stages" and isinstance(value, list):
        return "\n".join(
            f"{stage['name']}: {duration_text(stage['seconds'])}" + (" (reused)" if stage["reused"] else "")
            for stage in value
        )
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _details(row: Row) -> list[RenderableType]:
    parts: list[RenderableType] = [Text("\nconfiguration", style="bold"), Text(row.config)]
    if row.modules:
        table = Table("class", "kernels", "FLOPs", "parameters", "precision", "recall", "F1", box=box.SIMPLE_HEAD)
        for module in row.modules:
            scores = (module.select_precision, module.select_recall, module.select_f1)
            sizes = (module.kernels, module.flops, module.parameters)
            table.add_row(module.class_name, *(f"{size:,}" for size in sizes), *(f"{score:.3f}" for score in scores))
        parts += [Text("\nmodules (scores of the composed model on select)", style="bold"), table]
    parts += reuse_views(row)
    if row.layers:
        table = Table("layer", "kernels", "kept, mean", "union", box=box.SIMPLE_HEAD)
        for layer in row.layers:
            mean = sum(layer.kept) / max(1, len(layer.kept))
            table.add_row(layer.name, str(layer.kernels), f"{mean:.1f}", str(layer.union_kept))
        parts += [Text("layers", style="bold"), table]
    if row.figures:
        parts += [Text("\nthe splitter's own figures (accuracies on select)", style="bold"), *_figures_views(row)]
    if row.sensitivity:
        parts += [Text("sensitivity (composed accuracy on select, %)", style="bold"), sensitivity_view(row)]
    return parts


_MOST_STEPS = 24
"""Of a longer search, so many steps are shown, evenly spread, the last one among them."""


def _figures_views(row: Row) -> Iterator[RenderableType]:
    whole = [figure for figure in row.figures if figure.step is None]
    by_step: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for figure in row.figures:
        if figure.step is not None:
            by_step[figure.step][figure.name] = figure.value
    if by_step:
        names = list(dict.fromkeys(name for figures in by_step.values() for name in figures))
        table = Table("step", *(name.replace("_", " ") for name in names), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        stride = -(-len(by_step) // _MOST_STEPS)
        for step, figures in list(by_step.items())[::-stride][::-1]:
            table.add_row(str(step), *(f"{figures[name]:.4g}" if name in figures else "–" for name in names))
        yield table
    if whole:
        yield Text(", ".join(f"{figure.name.replace('_', ' ')} {figure.value:.6g}" for figure in whole))
