"""Recorded states of a search, dead modules, and the choice of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from splitters.data import ImageSet
from splitters.modules.scores import Scores
from splitters.networks.inference import ClassReport, accuracy, class_report, composed_answers
from splitters.networks.masks import KernelMasks


@dataclass(frozen=True)
class RecordedState:
    """Masks and scores at the end of a round, with their performance on select.

    Args:
        round: Counted from 1; states that a method makes of earlier ones after the last round count on.
        seconds: Since the split began.
        masks: The modules' masks.
        scores: The modules' scores.
        accuracy: Accuracy of the composed model on select.
        f1: F1 of each class in the composed model on select.
        dead: Modules that lost their class.
        loss: Training loss of the last step.
    """

    round: int
    seconds: float
    masks: KernelMasks
    scores: Scores
    accuracy: float
    f1: Float[Tensor, " class"]
    dead: Bool[Tensor, " module"]
    loss: float

    @property
    def n_kernels(self) -> int:
        """The number of kernels of all modules together."""
        return int(self.masks.kernels.sum())

    def facts(self) -> dict[str, float]:
        """Return the state's numbers by name."""
        return {
            "step": float(self.round),
            "seconds": self.seconds,
            "accuracy": self.accuracy,
            "kernel_retention": self.masks.retention,
            "min_f1": float(self.f1.min()),
            "loss": self.loss,
        }


@dataclass(frozen=True)
class Health:
    """The performance of all modules on select.

    Args:
        accuracy: Of the composed model.
        report: Per class.
        dead: Modules that lost their class.
    """

    accuracy: float
    report: ClassReport
    dead: Bool[Tensor, " module"]


def examine(scores: Float[Tensor, "module sample"], select: ImageSet, base: ClassReport) -> Health:
    """Evaluate the modules on select.

    A module is dead if its score is the same for all of several images, or if the composed model never predicts its
    class correctly although the base model does.

    Args:
        scores: The modules' scores of select.
        select: The images.
        base: The base model's performance on them.

    Raises:
        SplitFailedError: If a score is NaN.
    """
    answers = composed_answers(scores)
    report = class_report(answers, select.labels, select.n_classes)
    several = scores.shape[1] > 1
    constant = ((scores.amax(1) - scores.amin(1)).cpu() < 1e-6) & several
    lost = (report.f1 == 0) & (base.f1 > 0)
    return Health(accuracy(answers, select.labels), report, constant | lost)


def choose(states: Sequence[RecordedState], *, base_accuracy: float, tolerance: float) -> tuple[RecordedState, bool]:
    """Choose the state that becomes the result.

    Args:
        states: At least one.
        base_accuracy: The base model's accuracy on select.
        tolerance: How far below it a state may be; a fraction.

    Returns:
        The state with the fewest kernels among those within the tolerance (of equal ones, the more accurate, then the
        earlier) and True; if there is none, the most accurate state (of equal ones, that with fewer kernels) and False.
    """
    within = [state for state in states if is_within(state, base_accuracy, tolerance)]
    if within:
        return min(within, key=lambda state: (state.n_kernels, -state.accuracy)), True
    return min(states, key=lambda state: (-state.accuracy, state.n_kernels)), False


def is_within(state: RecordedState, base_accuracy: float, tolerance: float) -> bool:
    """Return whether a state's accuracy is at most the tolerance, a fraction, below the base model's."""
    # Accuracies are ratios of counts: the slack only absorbs the rounding of the difference.
    return state.accuracy >= base_accuracy - tolerance - 1e-9
