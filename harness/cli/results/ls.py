"""``splitbench ls``: list what suites can name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.reference.choices import Choice, Setting

_KINDS = ("splitters", "models", "datasets", "scenarios", "suites", "sweeps")


@click.command()
@click.argument("kind", type=click.Choice(_KINDS))
@json_option
@report_errors
def command(kind: str, as_json: bool) -> None:
    """List splitters, models, datasets, scenarios, suites or sweeps, with their settings and defaults."""
    from harness.cli.output import show, show_json
    from harness.reference.choices import CHOICES

    choices = CHOICES[kind]()
    if as_json:
        show_json([dataclasses.asdict(choice) for choice in choices])
    else:
        show(_view(choices))


def _view(choices: list[Choice]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    alike = all(choice.settings == choices[0].settings for choice in choices)
    shared = choices[0].settings if alike else ()
    names = Table.grid(padding=(0, 2))
    names.add_column(style="bold", no_wrap=True)
    names.add_column(overflow="fold")
    for choice in choices:
        names.add_row(choice.name, choice.description)
    parts: list[RenderableType] = [names]
    sections = [("all", shared)] if shared else [(choice.name, choice.settings) for choice in choices]
    for name, settings in sections:
        if settings:
            parts += [Text(f"\nSettings of {name}", style="bold"), _settings_table(settings)]
    return Group(*parts)


def _settings_table(settings: tuple[Setting, ...]) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style="cyan", overflow="fold", max_width=24)
    table.add_column(overflow="fold", ratio=1)
    for setting in settings:
        default = "" if setting.default is None else str(setting.default)
        table.add_row(f"  {setting.name}", default, setting.description)
    return table
