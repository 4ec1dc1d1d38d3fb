"""``splitbench evaluate``: score a finished classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import report_errors
from harness.cli.given_options import GivenOptions, given_model_options, load_trained, weights_option
from harness.cli.options import RegularFile, data_options, json_option, make_workspace

if TYPE_CHECKING:
    from rich.table import Table

    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.single_model.evaluation import Evaluation
    from benchmarks.single_model.weights_file import TrainedWeights
    from splitters.reuse.reused_model import ReusedModel


@click.command()
@click.argument("file", type=RegularFile(path_type=Path), required=False)
@click.option("--model", metavar="M", help="A network of your own instead; see --weights.")
@weights_option
@given_model_options
@click.option("--data", required=True, metavar="D", help="A data set with the classifier's classes.")
@data_options
@json_option
@report_errors
def command(
    file: Path | None,
    model: str | None,
    weights: str | None,
    given: GivenOptions,
    data: str,
    data_root: Path | None,
    download: bool,
    as_json: bool,
) -> None:
    """Score a classifier on a data set's test images.

    It is a composed or patched model or a trained network in FILE, or a network of your own (--model M --weights FILE).
    Images of classes that it does not know are left out.
    """
    from benchmarks.single_model.evaluation import evaluate_model
    from harness.cli.output import show, show_json, write_line

    workspace = make_workspace(data_root, download)
    evaluation = evaluate_model(_classifier(file, model, weights, given, data, workspace), data, workspace)
    if as_json:
        show_json({"file": str(file or weights), **asdict(evaluation)})
        return
    show(_table(evaluation))
    left_out = f", {evaluation.left_out} of other classes left out" if evaluation.left_out else ""
    shape = "x".join(map(str, evaluation.input_shape))
    write_line(f"accuracy {100 * evaluation.accuracy:.2f} % on {evaluation.images} test images of {shape}{left_out}")


def _classifier(
    file: Path | None, model: str | None, weights: str | None, given: GivenOptions, data: str, workspace: Workspace
) -> ReusedModel | TrainedWeights:
    from benchmarks.single_model.evaluation import UNKNOWN_TRAINING
    from benchmarks.single_model.weights_file import given_weights
    from splitters.errors import ConfigurationError

    if (file is None) == (weights is None) or (file is not None and model is not None):
        raise ConfigurationError("name a FILE, or a network and its weights: --model M --weights FILE.")
    if weights is None:
        given.refuse_without_weights()
        return _load(Path(str(file)))
    spec = given.model(model, weights, workspace)
    if spec is None:
        return load_trained(weights, expected=model)
    trained, warnings = given_weights(spec, data, workspace)
    for warning in (UNKNOWN_TRAINING, *warnings):
        click.echo(f"warning: {warning}", err=True)
    return trained


def _load(file: Path) -> ReusedModel | TrainedWeights:
    from benchmarks.models.weights_reading import WEIGHTS_FORMAT
    from splitters.errors import ConfigurationError
    from splitters.files.safetensors_file import read_format
    from splitters.modules.module import Module
    from splitters.reuse.model_file import load_model

    if read_format(file) == WEIGHTS_FORMAT:
        return load_trained(file)
    model = load_model(file)
    if isinstance(model, Module):
        raise ConfigurationError(
            f"{file} holds a single module, which only says how much an image looks like {model.info.class_name!r}. "
            "Compose it with others first."
        )
    return model


def _table(evaluation: Evaluation) -> Table:
    from rich import box
    from rich.table import Table

    from harness.text import printable

    table = Table("class", "images", "precision, %", "recall, %", "F1, %", box=box.SIMPLE_HEAD)
    for score in evaluation.classes:
        figures = (f"{100 * value:.1f}" for value in (score.precision, score.recall, score.f1))
        table.add_row(printable(score.name), str(score.images), *figures)
    return table
