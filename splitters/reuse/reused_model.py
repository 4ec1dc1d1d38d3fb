"""What composed and patched models have in common: class names, an input format, predictions, a file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.data.pictures import Pictures
from splitters.files.safetensors_file import write_tensor_file
from splitters.modules.input_adapter import InputForm
from splitters.modules.model_input import loader_transform, run_on_images
from splitters.networks.inference import composed_answers
from splitters.reuse.model_format import FORMAT, FORMAT_VERSION, UNCALIBRATED_VERSION, ModelDescription, ModelHeader

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform


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

    def predict(self, images: Pictures, *, normalised: bool = False) -> Int64[Tensor, " image"]:
        """Return the index in ``class_names`` of each image's highest score; of equal scores, the lowest index.

        Images may lie anywhere; they run on the model's device, and the answers lie on the images' device.

        Args:
            images: Files, PIL images, uint8 arrays or tensors: one, a list, or a batch, of any size. They are turned
                upright, resized to the model's input, made grey or coloured as it needs, and normalised.
            normalised: The images are floats that are the model's input already, e.g. from ``transform``.

        Raises:
            DataError: If the images are of another kind or cannot be read.
            SplitFailedError: If a score is NaN.
        """
        return self.answers(run_on_images(self, images, self.input_form, normalised=normalised))

    def predict_names(self, images: Pictures, *, normalised: bool = False) -> list[str]:
        """Return the class name of each image; see ``predict``."""
        return [self.class_names[index] for index in self.predict(images, normalised=normalised).tolist()]

    def predict_proba(self, images: Pictures, *, normalised: bool = False) -> Float[Tensor, "image class"]:
        """Return each image's probabilities, in the order of ``class_names``; see ``predict``.

        Scores that are logits or log-probabilities go through softmax; scores that are probabilities each (heads, some
        fusion rules) are divided by their sum. They are as well calibrated as the scores are.
        """
        scores = run_on_images(self, images, self.input_form, normalised=normalised)
        if not self.scores_are_probabilities:
            return scores.softmax(1)
        positive = scores.clamp(min=torch.finfo(scores.dtype).tiny)
        return positive / positive.sum(1, keepdim=True)

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether each score is a probability, not a logit or a log-probability."""
        return False

    @property
    def transform(self) -> Transform:
        """The torchvision transform from a PIL image to the model's input, for a data loader of one's own."""
        return loader_transform(self.input_form)

    @staticmethod
    def answers(scores: Float[Tensor, "batch class"]) -> Int64[Tensor, " batch"]:
        """Return the index of the highest score, as ``predict`` does, for scores that were computed earlier.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return composed_answers(scores.T)

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
