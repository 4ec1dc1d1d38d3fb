"""``splitbench module``: what a module's file holds."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import report_errors
from harness.cli.options import RegularFile, json_option


@click.group()
def command() -> None:
    """Look at modules."""


@command.command()
@click.argument("file", type=RegularFile(path_type=Path))
@json_option
@report_errors
def info(file: Path, as_json: bool) -> None:
    """Show what is known of the module in FILE: its class, where it comes from, what it keeps and costs."""
    from rich.table import Table

    from harness.cli.output import show, show_json
    from splitters.modules.module import Module

    module = Module.load(file)
    cost = module.cost()
    known = {**module.info.model_dump(mode="json"), "flops": cost.flops, "parameters": cost.parameters}
    if as_json:
        show_json(known)
        return
    kept = {layer: len(kernels) for layer, kernels in module.info.kept.items()}
    known["kept"] = ", ".join(f"{layer} {count}" for layer, count in kept.items())
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in known.items():
        if value not in (None, "", {}, []):
            grid.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    show(grid)
