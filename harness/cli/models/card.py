"""``splitbench card``: a model card in Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import report_errors
from harness.cli.given_options import load_trained
from harness.cli.options import RegularFile, json_option


@click.command()
@click.argument("file", type=RegularFile(path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it to this file.")
@json_option
@report_errors
def command(file: Path, out: Path | None, as_json: bool) -> None:
    """Write a Markdown model card from the metadata in FILE: a module, a composed or patched model, or a network."""
    from benchmarks.models.weights_reading import WEIGHTS_FORMAT
    from harness.cli.output import show_json, write
    from harness.views.model_card import model_card
    from splitters.files.atomic_write import write_atomically
    from splitters.files.safetensors_file import read_format
    from splitters.reuse.model_file import load_model

    model = load_trained(file) if read_format(file) == WEIGHTS_FORMAT else load_model(file)
    card = model_card(model, file_name=file.name, file_bytes=file.stat().st_size)
    if out is not None:
        write_atomically(out, f"{card}\n".encode())
    if as_json:
        show_json({"file": str(file), "out": out and str(out), "card": card})
    elif out is None:
        write(card)
