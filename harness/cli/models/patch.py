"""``splitbench patch``: correct a weak network on one class with a module."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.given_options import GivenOptions, given_model_options, load_trained
from harness.cli.options import RegularFile, data_options, json_option, make_workspace, out_option

if TYPE_CHECKING:
    from rich.table import Table

    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.single_model.patching import Patch
    from benchmarks.single_model.weights_file import TrainedWeights


@click.command()
@click.option(
    "--weak",
    required=True,
    metavar="FILE|NAME",
    help="The weak network's weights: from 'splitbench train', or your own.",
)
@click.option(
    "--weak-model",
    "--model",
    "weak_model",
    metavar="M",
    help="The network of weights of your own, e.g. python:PACKAGE.MODULE:FACTORY.",
)
@given_model_options
@click.option(
    "--module",
    "module_file",
    type=RegularFile(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The module, from 'splitbench split'.",
)
@click.option("--target-class", required=True, metavar="C", help="The name of the class to be patched.")
@click.option("--data", required=True, metavar="D", help="A data set with the weak network's classes.")
@click.option("--fusion", metavar="RULE", help="How both answers become one. [default: temperature]")
@out_option
@data_options
@json_option
@report_errors
def command(
    weak: str,
    weak_model: str | None,
    given: GivenOptions,
    module_file: Path,
    target_class: str,
    data: str,
    fusion: str | None,
    out: Path,
    data_root: Path | None,
    download: bool,
    as_json: bool,
) -> None:
    """Patch a weak network with a module of a stronger one, without training.

    The rule is calibrated on those select images of the weak network's seed that neither the module's network nor its
    splitter has seen: all of them, if one seed was used throughout. The table compares both networks on the test set.
    """  # fmt: skip
    from benchmarks.single_model.patching import patch_model
    from harness.cli.output import show, show_json, write_line
    from splitters.modules.module import Module
    from splitters.reuse.patched import DEFAULT_RULE

    workspace = make_workspace(data_root, download)
    patch = patch_model(
        _weak_network(weak, weak_model, given, data, workspace),
        Module.load(module_file),
        data,
        workspace,
        target=target_class,
        rule=fusion or DEFAULT_RULE,
    )
    patch.model.save(out)
    for name in patch.unknown:
        click.echo(
            f"warning: the images that {name} was made with are not known, or can no longer be reproduced here; it may "
            "have seen some of those that the patch is calibrated on.",
            err=True,
        )
    if as_json:
        figures = {"before": asdict(patch.before), "after": asdict(patch.after), "select_images": patch.images}
        show_json({"file": str(out), **figures, "unknown_training": list(patch.unknown)})
    else:
        show(_table(patch))
        write_line(
            f"{out}: patched for {patch.model.target_class!r} by {patch.model.fusion.kind}, on {patch.images} select "
            "images"
        )


def _weak_network(
    weights: str, name: str | None, given: GivenOptions, data: str, workspace: Workspace
) -> TrainedWeights:
    from benchmarks.single_model.weights_file import given_weights

    spec = given.model(name, weights, workspace, option="--weak-model")
    if spec is None:
        return load_trained(weights, expected=name)
    trained, warnings = given_weights(spec, data, workspace)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return trained


def _table(patch: Patch) -> Table:
    from rich import box
    from rich.table import Table

    name = patch.model.target_class
    before, after = patch.before.of(name), patch.after.of(name)
    lines = [
        (f"precision of {name!r}", before.precision, after.precision),
        (f"recall of {name!r}", before.recall, after.recall),
        (f"F1 of {name!r}", before.f1, after.f1),
        ("accuracy on other classes", patch.before.accuracy_without(name), patch.after.accuracy_without(name)),
        ("accuracy", patch.before.accuracy, patch.after.accuracy),
    ]
    table = Table("on test, %", "before", "after", "change", box=box.SIMPLE_HEAD)
    for title, old, new in lines:
        table.add_row(title, f"{100 * old:.1f}", f"{100 * new:.1f}", f"{100 * (new - old):+.1f}")
    return table
