"""``splitbench card``: a model card of a file."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import told_plainly


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@told_plainly
def command(file: Path) -> None:
    """Write a Markdown model card of FILE: a module, a composed or patched model, or a trained network.

    It says what the file says: classes, images, sizes, metrics, origin, licence, and how to load it.
    """
    from benchmarks.single_model.card import model_card
    from harness.cli.output import write_line

    write_line(model_card(file).rstrip())
