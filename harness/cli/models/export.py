"""``splitbench export``: a model for other runtimes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.options import RegularFile, data_options, json_option, make_workspace, out_option

if TYPE_CHECKING:
    from benchmarks.single_model.export import ExportFormat


@click.command()
@click.argument("file", type=RegularFile(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "torch-export"]),
    required=True,
    help="The format; onnx needs packages that it names.",
)
@out_option
@click.option("--data", metavar="D", help="Compare scores on this data set's test images. [default: random images]")
@data_options
@json_option
@report_errors
def command(
    file: Path, target: ExportFormat, out: Path, data: str | None, data_root: Path | None, download: bool, as_json: bool
) -> None:
    """Export the module, composed or patched model in FILE.

    The export takes a batch of float images in [0, 1] and returns their scores: normalisation is inside, and class
    names are in the metadata (torch.export: the extra file metadata.json). It is written only if its scores are the
    model's, to 1e-4.
    """
    from benchmarks.single_model.export import export_model, parity_images
    from harness.cli.output import show_json, write_line
    from splitters.reuse.model_file import load_model

    model = load_model(file)
    images = parity_images(model.input_form, data, make_workspace(data_root, download))
    export = export_model(model, target, out, images)
    if as_json:
        show_json({"file": str(out), "format": target, "dataset": data, **asdict(export)})
        return
    source = f"test images of {data}" if data else "images of random pixels"
    size = ", ".join(map(str, model.input_form.shape))
    write_line(f"{out}: takes float images [batch, {size}] in [0, 1]; normalisation is inside")
    write_line(
        f"largest difference of a score on {export.images} {source}: {export.difference:.1e} "
        f"(allowed: {export.tolerance:.1e})"
    )
    write_line(
        f"time for one image: {1000 * export.model_seconds:.2f} ms here, {1000 * export.export_seconds:.2f} ms exported"
    )
