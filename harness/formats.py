"""Leaderboards as text for other programs: JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from harness.leaderboard import MEASURES, Entry, Leaderboard, Section, better
from harness.report import ID_LENGTH, points_text, row_title, seeds_text


def leaderboard_objects(board: Leaderboard) -> list[dict[str, Any]]:
    """Returns one object per entry: fractions, means over seeds, null where nothing was measured."""
    return [_object(section, entry) for section in board.sections for entry in section.entries]


def _object(section: Section, entry: Entry) -> dict[str, Any]:
    loss = entry.estimates.get("accuracy_loss")
    return {
        "rank": entry.rank,
        "splitter": entry.splitter,
        "model": section.model,
        "dataset": section.dataset,
        "scenario": section.scenario,
        "n_seeds": entry.n_seeds,
        "n_failed": entry.n_failed,
        **{measure: entry.mean(measure) for measure in MEASURES},
        "accuracy_loss_half_width": loss.half_width if loss else None,
        "label": entry.label,
        "section": section.title,
        "cell_ids": list(entry.cell_ids),
    }


def to_json(board: Leaderboard) -> str:
    """Returns a JSON list of ``leaderboard_objects``."""
    return json.dumps(leaderboard_objects(board), indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(board: Leaderboard) -> str:
    """Returns a line per entry under a heading; empty where nothing was measured."""
    objects = leaderboard_objects(board)
    text = io.StringIO()
    if objects:
        names = [name for name in objects[0] if name != "cell_ids"]
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(objects)
    return text.getvalue().rstrip("\n")


_TEXT_MEASURES = ("base_accuracy", "composed_accuracy", "accuracy_loss", "kernel_retention", "flops_retention")
_HEADINGS = ("rank", "splitter", "seeds", "base %", "composed %", "loss, points", "kernels %", "FLOPs %")


def _cells(entry: Entry) -> list[str]:
    texts = []
    for measure in _TEXT_MEASURES:
        estimate = entry.estimates.get(measure)
        if estimate is None:
            texts.append("–")
        else:
            texts.append(points_text(estimate) if measure == "accuracy_loss" else f"{100 * estimate.mean:.1f}")
    return ["–" if entry.rank is None else str(entry.rank), entry.label, seeds_text(entry), *texts]


def _headings(arrows: Mapping[str | None, str]) -> list[str]:
    directions = [arrows[better(measure)] for measure in _TEXT_MEASURES]
    marks = [""] * (len(_HEADINGS) - len(directions)) + directions
    return [f"{heading} {mark}".strip() for heading, mark in zip(_HEADINGS, marks, strict=True)]


def to_markdown(board: Leaderboard) -> str:
    """Returns a table per section, and a list of the cells that are not ``ok``."""
    headings = _headings({"higher": "↑", "lower": "↓", None: ""})
    lines: list[str] = []
    for section in board.sections:
        lines += [f"### {section.title}", "", _markdown_line(headings)]
        lines.append(_markdown_line(["---:", ":---", *["---:"] * (len(headings) - 2)]))
        lines += [_markdown_line(_cells(entry)) for entry in section.entries]
        lines.append("")
    if board.failures:
        lines += ["Not ok:", ""]
    for row in board.failures:
        reason = row.reason or row.failure_kind or ""
        lines.append(f"- `{row.cell_id[:ID_LENGTH]}` {row_title(row)}: {row.state.value}: {reason}")
    return "\n".join(lines).strip()


def _markdown_line(cells: list[str]) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


_LATEX_SPECIAL = {**{character: f"\\{character}" for character in "&%$#_{}"}, "\\": r"\textbackslash{}"}
_LATEX_SPECIAL |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX_SPECIAL |= {"±": r"$\pm$", "·": r"$\cdot$", "–": "--", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}


def to_latex(board: Leaderboard) -> str:
    """Returns a ``booktabs`` table per section; failures follow as comments."""
    headings = _headings({"higher": "↑", "lower": "↓", None: ""})
    lines = ["% needs \\usepackage{booktabs}"]
    for section in board.sections:
        lines += [r"\begin{table}", f"\\caption{{{_latex(section.title)}}}", r"\begin{tabular}{rlrrrrrr}", r"\toprule"]
        lines += [_latex_line(headings), r"\midrule"]
        lines += [_latex_line(_cells(entry)) for entry in section.entries]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    lines += [f"% not ok: {row.cell_id[:ID_LENGTH]} {row.state.value}" for row in board.failures]
    return "\n".join(lines)


def _latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)


def _latex_line(cells: list[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "json": to_json,
    "md": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}
"""Text formats by name."""
