"""A trained network's weights as a file of their own, which says what network they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError, field_validator
from torch import Tensor, nn

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from benchmarks.models.inference import evaluate_accuracy
from benchmarks.single_model.image_origin import ImageOrigin
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.files.safetensors_file import FileHeader, read_tensor_file, write_tensor_file
from splitters.settings import ClassName

FORMAT = "splitbench.weights"
FORMAT_VERSION = 2
"""Readers take this version and older ones, and refuse newer ones."""

_SHOWN = 3


class WeightsHeader(FileHeader):
    """What is known of a trained network.

    Args:
        model: Its architecture and settings.
        class_names: The classes, in the order of its logits.
        input_shape: Channels, height and width of its images.
        dataset: The data set that it was trained on.
        seed: The seed that dealt out that data set's images: other images are new to the network.
        select_accuracy: Its accuracy on select.
        trained_on: Where the images come from that it was trained on; None if nobody knows.
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
    def _unknown_if_unreadable(cls, told: object) -> object:
        """Takes images of a kind that this version does not know for unknown ones."""
        try:
            return None if told is None else ImageOrigin.model_validate(told)
        except ValidationError:
            return None


@dataclass(frozen=True)
class TrainedWeights:
    """A trained network from a file.

    Args:
        model: The network, on the CPU, in eval mode.
        header: What is known of it.
    """

    model: nn.Module
    header: WeightsHeader


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
    """Writes a trained network's weights, all or nothing.

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
    """Reads what ``save_weights`` wrote.

    Args:
        path: The file.
        expected: The architecture that the caller takes it for, if it names one.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, or of a newer format.
        ConfigurationError: If the weights are another network's, or do not fit the network that they name.
    """
    header, tensors = read_tensor_file(path, WeightsHeader, form=FORMAT, newest=FORMAT_VERSION)
    if expected is not None and expected != header.model.name:
        raise ConfigurationError(f"{path} holds the weights of {header.model.name!r}, not of {expected!r}.")
    return _with_tensors(path, header, tensors)


def from_state_dict(
    path: Path | str, tensors: Mapping[str, Tensor], spec: ModelSpec, images: ImageSet, *, dataset: str
) -> TrainedWeights:
    """Returns a network of somebody's own, from its plain ``state_dict``.

    Args:
        path: Where it comes from, for messages.
        tensors: The state.
        spec: The architecture.
        images: Select images of its classes, in the order of its logits.
        dataset: The data set that these are of.

    Raises:
        ConfigurationError: If the state does not fit the architecture.
    """
    header = _header(spec, images, dataset, seed=0, select_accuracy=0.0)
    model = _with_tensors(path, header, tensors).model
    return TrainedWeights(model, header.model_copy(update={"select_accuracy": evaluate_accuracy(model, images)}))


def _header(spec: ModelSpec, images: ImageSet, dataset: str, seed: int, select_accuracy: float) -> WeightsHeader:
    return WeightsHeader(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        model=spec,
        class_names=images.class_names,
        input_shape=images.input_shape,
        dataset=dataset,
        seed=seed,
        select_accuracy=select_accuracy,
    )


def _with_tensors(path: Path | str, header: WeightsHeader, tensors: Mapping[str, Tensor]) -> TrainedWeights:
    model = build_model(header.model, n_classes=len(header.class_names), input_shape=header.input_shape, seed=0)
    _check_fit(path, model.state_dict(), tensors, header.model.name)
    model.load_state_dict(tensors)
    return TrainedWeights(model.eval().requires_grad_(False).to(memory_format=torch.channels_last), header)


def _check_fit(path: Path | str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str) -> None:
    wrong = [
        f"{key} is {list(given[key].shape)} instead of {list(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    wrong += [f"{key} is missing" for key in wanted if key not in given]
    wrong += [f"{key} is unknown to it" for key in given if key not in wanted]
    wrong += [f"{key} holds what is no finite number" for key, value in given.items() if not value.isfinite().all()]
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ConfigurationError(f"{path}: the weights do not fit {name!r}: {'; '.join(wrong[:_SHOWN])}{more}.")
