"""What composed and patched models have in common: class names, an input format, predictions, a file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.files.safetensors_file import write_tensor_file
from splitters.modules.input_adapter import InputForm
from splitters.networks.inference import composed_answers
from splitters.reuse.model_format import FORMAT, FORMAT_VERSION, UNCALIBRATED_VERSION, ModelDescription, ModelHeader


class ReusedModel(nn.Module):
    """A classifier assembled from trained parts.

    Args:
        class_names: The classes, in the order of the scores.
        input_form: What its images look like.
    """

    def __init__(self, class_names: tuple[str, ...], input_form: InputForm) -> None:
        super().__init__()
        self.class_names = class_names
        self.input_form = input_form

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "batch channel height width"]) -> Int64[Tensor, " batch"]:
        """Return the index in ``class_names`` of each image's highest score; of equal scores, the lowest index.

        Args:
            images: Normalised images.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return self.answers(self(images))

    @staticmethod
    def answers(scores: Float[Tensor, "batch class"]) -> Int64[Tensor, " batch"]:
        """Return the index of the highest score, as ``predict`` does, for scores that were computed earlier.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return composed_answers(scores.T)

    def predict_names(self, images: Float[Tensor, "batch channel height width"]) -> list[str]:
        """Return the class name of each normalised image."""
        return [self.class_names[index] for index in self.predict(images).tolist()]

    def save(self, path: Path | str) -> None:
        """Write the whole model as one safetensors file, which ``load_model`` reads without anything else.

        Raises:
            ModuleFileError: If ``load_model`` could not read the model back, e.g. because a network uses an operation
                that files do not know; nothing is written.
        """
        description, tensors = self.describe()
        calibrated = any(name.startswith("calibration.") for name in tensors)
        version = FORMAT_VERSION if calibrated else UNCALIBRATED_VERSION
        write_tensor_file(path, ModelHeader(format=FORMAT, format_version=version, **dict(description)), tensors)

    @abstractmethod
    def describe(self) -> tuple[ModelDescription, dict[str, Tensor]]:
        """Return the model as JSON and tensors by name.

        Raises:
            ModuleFileError: If no file could hold a part of it.
        """
