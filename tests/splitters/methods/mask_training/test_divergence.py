"""Training that diverges fails with the learning rates, whichever of the trained tensors shows it."""

import math

import pytest
import torch

from splitters.errors import SplitFailedError
from splitters.methods.gradsplitter import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer as GradTrainer
from splitters.methods.scalesplitter import ScaleSplitterSettings
from splitters.methods.scalesplitter.trainer import Trainer as ScaleTrainer
from splitters.settings import Length
from splitters.testing import tiny_task

_ONE_STEP = Length(count=1, unit="steps")


def _grad_trainer() -> GradTrainer:
    task, settings = tiny_task(), GradSplitterSettings.parse({}, where="test")
    return GradTrainer(task, task.trace(), settings, torch.Generator().manual_seed(0))


def _scale_trainer() -> ScaleTrainer:
    task, settings = tiny_task(), ScaleSplitterSettings.parse({}, where="test")
    return ScaleTrainer(task, task.trace(), settings, torch.Generator().manual_seed(0))


def test_heads_that_are_not_finite_after_a_head_phase_are_reported() -> None:
    trainer = _grad_trainer()
    with pytest.raises(SplitFailedError, match=r"hidden_weight.*; lower the learning rates \(masks 0.001"):
        trainer.score_phase(_ONE_STEP, math.inf)
    assert math.isfinite(trainer.loss), "the loss was computed before the step"


def test_scales_that_are_not_finite_after_a_tune_phase_are_reported() -> None:
    trainer = _scale_trainer()
    with pytest.raises(SplitFailedError, match="scales; lower the learning rates"):
        trainer.score_phase(_ONE_STEP, math.inf)
    assert math.isfinite(trainer.loss)
