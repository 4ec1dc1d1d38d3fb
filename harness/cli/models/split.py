"""``splitbench split``: cut one network into modules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import report_errors
from harness.cli.given_options import GivenOptions, find_models_here, given_model_options, load_trained, weights_option
from harness.cli.options import data_options, json_option, make_workspace, split_names

if TYPE_CHECKING:
    from splitters.modules.module import Module


@click.command()
@click.option("--model", metavar="M", help="A network, trained first unless --weights are given.")
@weights_option
@given_model_options
@click.option("--data", required=True, metavar="D", help="A data set: see 'splitbench ls datasets'.")
@click.option("--splitter", required=True, metavar="S", help="A splitter: see 'splitbench ls splitters'.")
@click.option(
    "--classes",
    multiple=True,
    metavar="NAME,...",
    help="Write these classes' modules only. Repeatable; a comma in a name is written as '\\,'.",
)
@click.option("--suite", metavar="SUITE|FILE", help="Take the settings of a suite, e.g. quick.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="E.g. --set splitters.gradsplitter.alpha=0.3. Repeatable.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seeds images, training and split. [default: the weights', or 0]"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder for the modules.",
)
@data_options
@json_option
@report_errors
def command(
    model: str | None,
    weights: str | None,
    given: GivenOptions,
    data: str,
    splitter: str,
    classes: tuple[str, ...],
    suite: str | None,
    changes: tuple[str, ...],
    seed: int | None,
    out: Path,
    data_root: Path | None,
    download: bool,
    as_json: bool,
) -> None:
    """Split a network into one module per class, each a file of its own.

    The network is trained first (--model M), or comes with its weights: --weights FILE from 'splitbench train', or
    --model M --weights FILE for weights of your own. docs/own-network.md says more on these.

    A training or a split that was done before with the same settings is not done again.
    """  # fmt: skip
    from benchmarks.single_model.splitting import split_model, with_settled_normalisation
    from harness.cli.output import show, show_json, write_line
    from harness.config.single_cell import single_cell
    from splitters.errors import ConfigurationError

    if model is None and weights is None:
        raise ConfigurationError(
            "name either a network to train (--model) or a trained one (--weights); with both, --model says what "
            "network the weights are of."
        )
    find_models_here(suite)
    workspace = make_workspace(data_root, download, suite=suite)
    spec = None if weights is None else given.model(model, weights, workspace)
    trained = load_trained(weights, expected=model) if weights and spec is None else None
    name = spec or (trained.header.model.name if trained else str(model))
    seed = seed if seed is not None else trained.header.seed if trained else 0
    if weights is None:
        given.refuse_without_weights()
    cell = single_cell(name, data, splitter=splitter, seed=seed, suite=suite, changes=changes)
    if spec is not None:
        cell = with_settled_normalisation(cell, spec, workspace)
    wanted = tuple(name for names in classes for name in split_names(names))
    modules, warnings = split_model(cell, workspace, weights=trained, classes=wanted)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / module_file_name(module.info.class_index, module.info.class_name) for module in modules]
    for module, file in zip(modules, files, strict=True):
        module.save(file)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    found = [_object(module, file) for module, file in zip(modules, files, strict=True)]
    if as_json:
        show_json(found)
        return
    show(_table(found))
    if modules:
        write_line(f"for images of {'x'.join(map(str, modules[0].info.input_shape))}")


def module_file_name(class_index: int, class_name: str) -> str:
    """Return the name of a module's file; whatever the class is called, it is the name of a file and no path."""
    safe = re.sub(r"[^\w.-]+", "_", class_name)[:80]
    return f"{class_index:02d}-{safe}.safetensors"


def _object(module: Module, file: Path) -> dict[str, Any]:
    cost = module.cost()
    return {
        "class": module.info.class_name,
        "file": str(file),
        **module.info.metrics,
        "flops": cost.flops,
        "parameters": cost.parameters,
    }


def _table(found: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    from harness.text import printable

    table = Table("class", "file", "kernels, %", "F1 on select", "parameters", box=box.SIMPLE_HEAD)
    for entry in found:
        table.add_row(
            printable(entry["class"]),
            printable(entry["file"]),
            f"{100 * entry['kernel_retention']:.1f}",
            f"{entry['select_f1']:.3f}",
            f"{entry['parameters']:,}",
        )
    return table
