"""How well a single classifier recognises each class of a data set's test images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.cells import DatasetSpec
from benchmarks.models.inference import predict_logits
from benchmarks.pipeline.preparation import images_for
from benchmarks.pipeline.workspace import Workspace
from benchmarks.single_model.weights_file import TrainedWeights
from splitters.data import ImageSet
from splitters.errors import DataError
from splitters.networks.inference import accuracy, class_report
from splitters.reuse.reused_model import ReusedModel

_BATCH = 256

UNKNOWN_TRAINING = (
    "which images the model was trained on is not known: test may hold some of them, which flatters its accuracy."
)
"""What to know of the score of a given model."""


@dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised.

    Args:
        name: The class.
        images: How many images it has.
        precision: Right answers among those that name it.
        recall: Right answers among its images.
        f1: Their harmonic mean.
    """

    name: str
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """How well a classifier does on the test set.

    Args:
        accuracy: The share of right answers.
        images: How many images of its classes there are.
        left_out: How many images of other classes there are.
        input_shape: The channels, height and width to which the images were brought.
        classes: One entry per class, in order.
    """

    accuracy: float
    images: int
    left_out: int
    input_shape: tuple[int, int, int]
    classes: tuple[ClassScore, ...]

    def of(self, name: str) -> ClassScore:
        """Return the entry of one class."""
        return next(score for score in self.classes if score.name == name)

    def accuracy_without(self, name: str) -> float:
        """Return the share of right answers among the images of the other classes."""
        others = [score for score in self.classes if score.name != name]
        return sum(score.recall * score.images for score in others) / max(1, sum(score.images for score in others))


def evaluate_model(model: ReusedModel | TrainedWeights, dataset: str, workspace: Workspace) -> Evaluation:
    """Score a composed or patched model, or a trained network, on a data set's test images of its classes.

    Raises:
        DataError: If the data set lacks one of its classes.
    """
    if isinstance(model, TrainedWeights):
        shape, names = model.header.input_shape, model.header.class_names
    else:
        shape, names = model.input_form.shape, model.class_names
    everything = images_for(DatasetSpec(name=dataset, input_shape=shape), 0, workspace).roles.test
    absent = [name for name in names if name not in everything.class_names]
    if absent:
        raise DataError(
            f"{dataset!r} has no images of {', '.join(map(repr, absent))}, which the model knows; its classes "
            f"are {', '.join(map(repr, everything.class_names))}. Name a data set with images of all of the model's."
        )
    test = everything.of_classes(names)
    left_out = len(everything) - len(test)
    if isinstance(model, TrainedWeights):
        return evaluate_network(model.model, model.images_of(test), left_out=left_out)
    return evaluate_reused(model, replace(test, normalisation=model.input_form.normalisation), left_out=left_out)


def evaluate_network(model: nn.Module, test: ImageSet, *, left_out: int) -> Evaluation:
    """Score a network on test images; ``left_out`` is how many of other classes there were."""
    return _evaluation(predict_logits(model, test).argmax(1), test, left_out=left_out)


@torch.no_grad()
def evaluate_reused(model: ReusedModel, test: ImageSet, *, left_out: int) -> Evaluation:
    """Score a composed or patched model on test images; ``left_out`` is how many of other classes there were."""
    answers = torch.cat([model.predict(batch, normalised=True) for batch in test.batches(_BATCH)])
    return _evaluation(answers, test, left_out=left_out)


def _evaluation(answers: Tensor, test: ImageSet, *, left_out: int) -> Evaluation:
    report = class_report(answers, test.labels, test.n_classes)
    counts = torch.bincount(test.labels, minlength=test.n_classes).tolist()
    figures = torch.stack([report.precision, report.recall, report.f1], dim=1).tolist()
    return Evaluation(
        accuracy=accuracy(answers, test.labels),
        images=len(test),
        left_out=left_out,
        input_shape=test.input_shape,
        classes=tuple(
            ClassScore(name, count, *three)
            for name, count, three in zip(test.class_names, counts, figures, strict=True)
        ),
    )
