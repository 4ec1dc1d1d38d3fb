"""A single trained network: its weights as a file that says what network they belong to, or a given model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError, field_validator
from torch import Tensor, nn

from benchmarks.cells import DatasetSpec, ModelSpec
from benchmarks.models import build_model, normalisation_of
from benchmarks.models.families.python_factory import PYTHON_PREFIX
from benchmarks.models.memory_order import in_fastest_order
from benchmarks.models.weights_reading import WEIGHTS_FORMAT, WEIGHTS_FORMAT_VERSION, StoredWeights
from benchmarks.pipeline.given_model import load_for, plausibility, settled_normalisation
from benchmarks.pipeline.preparation import images_for
from benchmarks.pipeline.workspace import Workspace
from benchmarks.single_model.image_origin import ImageOrigin
from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError
from splitters.files.safetensors_file import FileHeader, read_tensor_file, write_tensor_file
from splitters.settings import ClassName


class WeightsHeader(FileHeader):
    """What is known of a trained network.

    Args:
        model: Its architecture and settings.
        class_names: The classes, in the order of its logits.
        input_shape: Channels, height and width of its images.
        dataset: The data set that it was trained on.
        seed: The seed by which that data set's images were divided: other images are new to the network.
        select_accuracy: Its accuracy on select.
        trained_on: The images it was trained on; None if unknown.
    """

    model: ModelSpec
    class_names: tuple[ClassName, ...]
    input_shape: tuple[int, int, int]
    dataset: str
    seed: int
    select_accuracy: float
    trained_on: ImageOrigin | None = None

    @field_validator("trained_on", mode="before")
    @classmethod
    def _unknown_if_unreadable(cls, values: object) -> object:
        """Treat images of a kind that this version does not know as unknown."""
        try:
            return None if values is None else ImageOrigin.model_validate(values)
        except ValidationError:
            return None


@dataclass(frozen=True)
class TrainedWeights:
    """A trained network from a file.

    Args:
        model: The network, on the CPU, in eval mode.
        header: What is known of it.
        normalisation: Of its images; None if it is that of the data set.
    """

    model: nn.Module
    header: WeightsHeader
    normalisation: Normalisation | None = None

    def images_of(self, images: ImageSet) -> ImageSet:
        """Return images as the network wants them."""
        return images if self.normalisation is None else replace(images, normalisation=self.normalisation)


def save_weights(
    path: Path | str,
    model: nn.Module,
    spec: ModelSpec,
    images: ImageSet,
    *,
    dataset: str,
    seed: int,
    select_accuracy: float,
    trained_on: ImageOrigin | None = None,
) -> None:
    """Write a trained network's weights, all or nothing.

    Args:
        path: Where to.
        model: The network.
        spec: Its architecture and settings.
        images: Images that it was made for; their classes and shape are noted.
        dataset: The data set that it was trained on.
        seed: The seed of its cell.
        select_accuracy: Its accuracy on select.
        trained_on: Where the images come from that it was trained on, if that is known.
    """
    header = _header(spec, images, dataset, seed, select_accuracy).model_copy(update={"trained_on": trained_on})
    write_tensor_file(path, header, model.state_dict())


def load_weights(path: Path | str, *, expected: str | None = None) -> TrainedWeights:
    """Read what ``save_weights`` wrote.

    Args:
        path: The file.
        expected: The architecture that the caller takes it for. If it is a ``python:`` model, whose code is run, the
            caller has to name it: a file is data, and must not choose what code runs.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, or of a newer format.
        ConfigurationError: If the weights are another network's, or do not fit the network that they name, or if that
            is a ``python:`` model that the caller has not named.
    """
    header, tensors = read_tensor_file(path, WeightsHeader, form=WEIGHTS_FORMAT, newest=WEIGHTS_FORMAT_VERSION)
    if expected is not None and expected != header.model.name:
        raise ConfigurationError(f"{path} holds the weights of {header.model.name!r}, not of {expected!r}.")
    if expected is None:
        refuse_unnamed_code(path, header.model)
    return _with_tensors(path, header, tensors)


def refuse_unnamed_code(path: Path | str, model: ModelSpec) -> None:
    """Refuse the network that a file names if it is made by code.

    Raises:
        ConfigurationError: If it is.
    """
    if model.name.startswith(PYTHON_PREFIX):
        raise ConfigurationError(
            f"{path} says that its network is made by {model.name!r}, code that would run with your rights. If you "
            f"trust it, name it yourself: --model {model.name} --weights {path} (in 'patch' --weak-model), in Python "
            f"load_weights(..., expected={model.name!r})."
        )


def given_weights(spec: ModelSpec, dataset: str, workspace: Workspace) -> tuple[TrainedWeights, tuple[str, ...]]:
    """Load a given model for the classes of a data set that it knows, and return it and what the user should know.

    Args:
        spec: The model, complete; see ``benchmarks.models.complete_given``. Where it does not say how images are
            normalised, see ``settled_normalisation``.
        dataset: The data set's name.
        workspace: Where to work.

    Raises:
        SplitbenchError: See ``benchmarks.models.load_given``.
    """
    shape = spec.input_shape or DatasetSpec.model_fields["input_shape"].default
    select = images_for(DatasetSpec(name=dataset, input_shape=shape), 0, workspace).roles.select
    known = tuple(name for name in select.class_names if name in spec.class_names)
    select = select.of_classes(known) if known else select
    spec = settled_normalisation(spec, select, workspace)
    select = replace(select, normalisation=normalisation_of(spec, shape[0]))
    given = load_for(spec, select, workspace)
    right, diagnosis = plausibility(spec, given.network, select)
    header = _header(spec, select, dataset, seed=0, select_accuracy=right)
    warnings = given.notes if diagnosis is None else (*given.notes, diagnosis)
    return TrainedWeights(given.network, header, select.normalisation), warnings


def _header(spec: ModelSpec, images: ImageSet, dataset: str, seed: int, select_accuracy: float) -> WeightsHeader:
    return WeightsHeader(
        format=WEIGHTS_FORMAT,
        format_version=WEIGHTS_FORMAT_VERSION,
        model=spec,
        class_names=images.class_names,
        input_shape=images.input_shape,
        dataset=dataset,
        seed=seed,
        select_accuracy=select_accuracy,
    )


def _with_tensors(path: Path | str, header: WeightsHeader, tensors: Mapping[str, Tensor]) -> TrainedWeights:
    model = build_model(header.model, n_classes=len(header.class_names), input_shape=header.input_shape, seed=0)
    StoredWeights(Path(path), tensors).load_into(model, header.model.name)
    return TrainedWeights(in_fastest_order(model.eval().requires_grad_(False), header.input_shape), header)
