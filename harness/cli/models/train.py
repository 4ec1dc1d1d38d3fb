"""``splitbench train``: train one network and keep its weights."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import report_errors
from harness.cli.given_options import find_models_here, trust_model
from harness.cli.options import data_options, json_option, make_workspace, out_option


@click.command()
@click.option("--model", required=True, metavar="M", help="A network: see 'splitbench ls models'.")
@click.option("--data", required=True, metavar="D", help="A data set: see 'splitbench ls datasets'.")
@click.option("--suite", metavar="SUITE|FILE", help="Take the settings of a suite, e.g. quick.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="E.g. --set training.epochs=3 --set models.simcnn.width=0.25. Repeatable.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seeds images and training.")
@out_option
@data_options
@json_option
@report_errors
def command(
    model: str,
    data: str,
    suite: str | None,
    changes: tuple[str, ...],
    seed: int,
    out: Path,
    data_root: Path | None,
    download: bool,
    as_json: bool,
) -> None:
    """Train a network, and write its weights to a file that says what network they belong to.

    A training that was done before with the same settings is not done again.
    """  # fmt: skip
    from benchmarks.single_model.image_origin import ImageOrigin
    from benchmarks.single_model.splitting import train_model
    from benchmarks.single_model.weights_file import save_weights
    from harness.cli.output import show_json, write_line
    from harness.config.single_cell import single_cell

    find_models_here(suite)
    trust_model(model)
    cell = single_cell(model, data, seed=seed, suite=suite, changes=changes)
    prepared = train_model(cell, make_workspace(data_root, download, suite=suite))
    base = prepared.base
    save_weights(
        out, base.model, cell.model, prepared.roles.train,
        dataset=data, seed=seed, select_accuracy=base.select_accuracy,
        trained_on=ImageOrigin.of(cell, prepared.dataset_hash),
    )  # fmt: skip
    if as_json:
        show_json({"file": str(out), "select_accuracy": base.select_accuracy, "seconds": base.seconds})
    else:
        write_line(f"{out}: {model}, {100 * base.select_accuracy:.1f} % on select")
