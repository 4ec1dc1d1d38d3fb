"""``splitbench inspect``: what of a network modules can drop, and what they cannot."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import EXIT_FAILED, report_errors
from harness.cli.given_options import GivenOptions, find_models_here, given_model_options, load_trained, weights_option
from harness.cli.options import json_option, make_workspace

if TYPE_CHECKING:
    from rich.console import RenderableType

    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.single_model.inspection import Inspection


@click.command()
@click.argument("model")
@weights_option
@given_model_options
@click.option(
    "--classes", type=click.IntRange(min=1), metavar="N", help="Its logits, if nothing says so. [default: 10]"
)
@click.option("--download", is_flag=True, help="Fetch published weights that are not there.")
@json_option
@report_errors
def command(
    model: str, weights: str | None, given: GivenOptions, classes: int | None, download: bool, as_json: bool
) -> None:
    """Show which kernels of MODEL its modules can drop: by layer, with FLOPs, ties, what is frozen, why, and its cost.

    MODEL is a network's name or a file of 'splitbench train'. Exit codes: 0 if kernels can be dropped, 1 if none can
    or the network cannot be split at all.
    """
    from harness.cli.output import show, show_json

    inspection = _inspection(model, weights, given, classes or 10, make_workspace(None, download))
    show_json(_object(inspection)) if as_json else show(_view(inspection))
    if not inspection.droppable_kernels:
        click.echo(f"{model}: no kernel can be dropped; no splitter makes this network smaller.", err=True)
        sys.exit(EXIT_FAILED)


def _inspection(
    model: str, weights: str | None, given: GivenOptions, n_classes: int, workspace: Workspace
) -> Inspection:
    from benchmarks.cells import DatasetSpec, ModelSpec
    from benchmarks.models import build_given, check_model
    from benchmarks.single_model.inspection import inspect_network

    name: str | None = model
    if weights is None and Path(model).is_file():
        name, weights = None, model
    spec = None if weights is None else given.model(name, weights, workspace)
    if weights is not None and spec is None:
        trained = load_trained(weights, expected=name)
        header = trained.header
        return inspect_network(
            trained.model, name=header.model.name, input_shape=header.input_shape, n_logits=len(header.class_names)
        )
    find_models_here()
    if spec is None:
        spec = ModelSpec(name=model)
        check_model(spec)
    shape = spec.input_shape or given.shape or DatasetSpec.model_fields["input_shape"].default
    network, n_logits, notes = build_given(
        spec,
        input_shape=shape,
        n_classes=len(given.names) or n_classes,
        cache=workspace.cache,
        download=workspace.download,
    )
    for note in notes:
        click.echo(note, err=True)
    return inspect_network(network, name=spec.name, input_shape=shape, n_logits=n_logits)


def _object(inspection: Inspection) -> dict[str, object]:
    totals = {"kernels": inspection.kernels, "droppable_kernels": inspection.droppable_kernels}
    return {**asdict(inspection), **totals}


def _view(inspection: Inspection) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("convolution", "kernels", "droppable", "FLOPs", "tied to", box=box.SIMPLE_HEAD)
    for layer in inspection.layers:
        table.add_row(
            layer.name, str(layer.kernels), str(layer.droppable), f"{layer.flops:,}", ", ".join(layer.tied_to)
        )
    shape = "x".join(map(str, inspection.input_shape))
    cost, smallest = inspection.cost, inspection.smallest
    parts: list[RenderableType] = [
        Text(f"{inspection.name}: {shape} images to {inspection.n_logits} logits", style="bold"),
        table,
        Text(
            f"{inspection.droppable_kernels:,} of {inspection.kernels:,} kernels can be dropped. "
            f"{cost.flops:,} FLOPs and {cost.parameters:,} parameters; the smallest possible module has "
            f"{smallest.flops:,} ({100 * smallest.flops / cost.flops:.1f} %) and {smallest.parameters:,}."
        ),
    ]
    if inspection.frozen:
        frozen = Table("frozen by", "because", "kernels", "FLOPs, %", box=box.SIMPLE_HEAD)
        for entry in inspection.frozen:
            kernels = ", ".join(f"{count} of {name}" for name, count in entry.kernels.items())
            frozen.add_row(entry.operation, entry.reason, kernels, f"{100 * entry.flops / cost.flops:.1f}")
        parts.append(frozen)
    return Group(*parts)
