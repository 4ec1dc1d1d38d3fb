"""The options that describe a network of the user's own: its weights, and what these were made with."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Decorator, RegularFile, split_names

if TYPE_CHECKING:
    from benchmarks.cells import ModelSpec
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.single_model.weights_file import TrainedWeights

weights_option: Decorator = click.option(
    "--weights",
    type=RegularFile(path_type=str),
    metavar="FILE|NAME",
    help="Its weights: a safetensors or torch file, or published ones, e.g. DEFAULT.",
)


@dataclass(frozen=True)
class GivenOptions:
    """What the call says about weights."""

    mean: str | None
    std: str | None
    normalisation: str | None
    input_shape: str | None
    transform_from: str | None
    class_names: str | None
    class_map: Path | None
    force: bool

    def model(
        self, name: str | None, weights: str, workspace: Workspace, *, option: str = "--model"
    ) -> ModelSpec | None:
        """Return the given model that the call means; None for a file of 'splitbench train' and no word about it.

        Args:
            name: The network; may be None for a file of 'splitbench train'.
            weights: A file, or the name of published weights.
            workspace: Where to work.
            option: The option that names the network, for messages.

        Raises:
            SplitbenchError: If an option or the file is wrong.
        """
        from benchmarks.cells import ModelSpec
        from benchmarks.models import check_model, complete_given
        from benchmarks.models.weights_reading import read_weights
        from benchmarks.single_model.weights_file import refuse_unnamed_code
        from harness.config.trust import is_trusted_model
        from splitters.errors import ConfigurationError

        described = self._values(name, workspace)
        if name is None or (not described and Path(weights).is_file()):
            header = read_weights(weights).header
            if header is not None and not described:
                return None
            if name is None:
                if header is None:
                    raise ConfigurationError(
                        f"{weights} holds plain weights, which do not say what network they are of; name it with "
                        f"{option}."
                    )
                name = header.model.name
                if not is_trusted_model(name, os.getcwd()):
                    refuse_unnamed_code(weights, header.model)
        trust_model(name)
        spec = ModelSpec.parse({"name": name, "weights": weights, **described}, where="the call")
        check_model(spec.architecture)
        return complete_given(spec, cache=workspace.cache, download=workspace.download)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """The input shape that the call names."""
        return None if self.input_shape is None else _shape(self.input_shape)

    @property
    def names(self) -> list[str]:
        """The class names that the call lists."""
        return split_names(self.class_names or "")

    def refuse_without_weights(self) -> None:
        """Check that no option describes weights where there are none.

        Raises:
            ConfigurationError: If one does.
        """
        from splitters.errors import ConfigurationError

        given = [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]
        if given:
            raise ConfigurationError(
                f"{given[0]} describes the weights of a trained network; name them with --weights."
            )

    def _values(self, name: str | None, workspace: Workspace) -> dict[str, object]:
        from splitters.errors import ConfigurationError

        values: dict[str, object] = {}
        if self.transform_from is not None:
            values |= _transform_of(self.transform_from, name, workspace)
        if (self.mean is None) != (self.std is None):
            raise ConfigurationError("--mean and --std belong together; give both.")
        if self.mean is not None and self.normalisation is not None:
            raise ConfigurationError("--normalisation and --mean with --std say the same; give one of them.")
        if self.mean is not None:
            values["normalisation"] = {"mean": _numbers(self.mean, "--mean"), "std": _numbers(self.std, "--std")}
        if self.normalisation is not None:
            values["normalisation"] = self.normalisation
        if self.input_shape is not None:
            values["input_shape"] = self.shape
        if self.names:
            values["class_names"] = self.names
        if self.class_map is not None:
            values["class_map"] = str(self.class_map)
        if self.force:
            values["force"] = True
        return values


def given_model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe weights; the function gets them as ``given``, a ``GivenOptions``."""

    @functools.wraps(function)
    def with_given(*args: Any, **keys: Any) -> Any:
        given = GivenOptions(**{name: keys.pop(name) for name in GivenOptions.__dataclass_fields__})
        return function(*args, given=given, **keys)

    decorators = (
        click.option("--mean", metavar="X,...", help="Its images' mean per channel, of values in [0, 1]."),
        click.option("--std", metavar="X,...", help="Their standard deviations."),
        click.option(
            "--normalisation", type=click.Choice(["imagenet", "none"]),
            help="The same, by name; none: bytes / 255.",
        ),
        click.option("--input-shape", metavar="C,H,W", help="Its images' channels, height and width."),
        click.option(
            "--transform-from", metavar="timm|torchvision",
            help="Take normalisation and shape from the library's own weights of this network, or of FAMILY:NAME.",
        ),
        click.option(
            "--class-names", metavar="NAME,...",
            help="The class of each of its logits, in order; a comma in a name is written as '\\,'.",
        ),
        click.option(
            "--class-map", type=RegularFile(dir_okay=False, path_type=Path), metavar="FILE",
            help="The same from a file: JSON or YAML, or a name per line.",
        ),
        click.option("--force", is_flag=True, help="Go on even if its accuracy is hardly better than chance."),
    )  # fmt: skip
    wrapped: Callable[..., Any] = with_given
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped


def load_trained(weights: Path | str, *, expected: str | None = None) -> TrainedWeights:
    """Load what 'splitbench train' wrote.

    Args:
        weights: The file. If its network is a ``python:`` model, the user must name that now, or have named it before,
            and in the current folder if it is there.
        expected: The network that the call names.

    Raises:
        SplitbenchError: See ``benchmarks.single_model.weights_file.load_weights``.
    """
    from benchmarks.models.weights_reading import read_weights
    from benchmarks.single_model.weights_file import load_weights
    from harness.config.trust import is_trusted_model

    if expected is None:
        header = read_weights(weights).header
        if header is not None and is_trusted_model(header.model.name, os.getcwd()):
            expected = header.model.name
    if expected is not None:
        trust_model(expected)
    return load_weights(weights, expected=expected)


def trust_model(name: str) -> None:
    """Let a network that is the user's own code be found in the current folder, and remember that they named it."""
    from benchmarks.models.families.python_factory import PYTHON_PREFIX
    from harness.config.plugins import Plugins
    from harness.config.trust import trust_named

    if name.startswith(PYTHON_PREFIX):
        find_models_here()
        trust_named(Plugins(folder=os.getcwd()), {"model": name})


def find_models_here(suite: str | None = None) -> None:
    """Let ``python:`` models be found beside the file of a suite, if one is named, and in the current folder."""
    from harness.config.plugins import Plugins

    beside = [str(Path(suite).absolute().parent)] if suite and Path(suite).is_file() else []
    for folder in (os.getcwd(), *beside):
        Plugins(folder=folder, models=True).load()


def _transform_of(family: str, name: str | None, workspace: Workspace) -> dict[str, object]:
    from benchmarks.cells import ModelSpec
    from benchmarks.models import check_model
    from benchmarks.models.given import find_published
    from splitters.errors import ConfigurationError

    member = family if ":" in family else str(name)
    if member.partition(":")[0] not in ("timm", "torchvision") or not member.startswith(family.partition(":")[0]):
        raise ConfigurationError(
            f"--transform-from {family}: say whose network's, as timm:NAME or torchvision:NAME; {name!r} is none of "
            "that library's."
        )
    spec = ModelSpec(name=member, weights="DEFAULT")
    check_model(spec.architecture, where="--transform-from")
    published = find_published(spec, workspace.cache, download=workspace.download)
    if published is None:
        raise ConfigurationError(f"--transform-from {family}: there are no published weights of {member!r}.")
    return {
        "normalisation": {"mean": published.mean, "std": published.std},
        "input_shape": published.input_shape,
    }


def _numbers(text: str | None, option: str) -> list[float]:
    from splitters.errors import ConfigurationError

    try:
        return [float(part) for part in str(text).split(",")]
    except ValueError:
        raise ConfigurationError(f"{option} {text}: give one number per image channel, e.g. 0.5,0.5,0.5.") from None


def _shape(text: str) -> tuple[int, int, int]:
    from splitters.errors import ConfigurationError

    parts = re.split(r"[,x]", text.strip().strip("[]()"))
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise ConfigurationError(f"--input-shape {text}: give channels, height and width, e.g. 3,32,32.")
    channels, height, width = map(int, parts)
    return channels, height, width
