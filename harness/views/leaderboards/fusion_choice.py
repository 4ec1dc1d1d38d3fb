"""The gains of fusion rules, for the terminal and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.ranking.fusion_choice import RuleGains
from harness.text import printable


def fusion_choice_view(gains: Sequence[RuleGains]) -> RenderableType:
    """Return a table of the rules, the best first, and the choice."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("F1 gain, points")
    for heading in ("on select", "worst group", "on test", "worst group"):
        table.add_column(heading, justify="right")
    for rule in gains:
        figures = (rule.select_gain, min(rule.select), rule.test_gain, min(rule.test))
        table.add_row(printable(rule.rule), *(f"{100 * figure:+.2f}" for figure in figures))
    n_groups = len(gains[0].select)
    note = (
        f"Means over {n_groups} group{'s' if n_groups > 1 else ''}, each of one kind of weak model and one splitter's "
        "modules. On select, each image is answered by a rule fitted to others; test has no part in the choice."
    )
    choice = f"{printable(gains[0].rule)} gains most on select."
    return Group(table, Text(note, style="dim"), Text(choice, style="bold"))


def fusion_choice_objects(gains: Sequence[RuleGains]) -> dict[str, Any]:
    """Return the gains as plain values, for JSON: fractions."""
    return {
        "chosen": gains[0].rule,
        "groups": len(gains[0].select),
        "rules": [
            {
                "rule": rule.rule,
                "select_gain": rule.select_gain,
                "worst_select_gain": min(rule.select),
                "test_gain": rule.test_gain,
                "worst_test_gain": min(rule.test),
            }
            for rule in gains
        ],
    }
