"""Where output goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console, RenderableType

_PLAIN_WIDTH = 100
"""Width of tables that go to a file or a pipe."""


def show(view: RenderableType) -> None:
    """Shows a table or text on stdout: with colours on a terminal, plainly elsewhere."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH, color_system=None)
    console.print(view)


def show_json(value: Any) -> None:
    """Writes a value to stdout as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def progress_console() -> Console:
    """Returns the console for what goes on, on stderr."""
    return Console(stderr=True, highlight=False)
