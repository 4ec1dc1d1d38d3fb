"""ScaleSplitter's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from splitters.methods.mask_training.settings import MaskTrainingSettings
from splitters.methods.scalesplitter.presets import PRESETS
from splitters.settings import Length, PhaseLength


class ScaleSplitterSettings(MaskTrainingSettings):
    """Settings of ScaleSplitter.

    As with GradSplitter, a mask moves by about its learning rate per step, from 1 to 0 and below.

    Args:
        preset: A schedule: ``fast`` (a first try), ``thorough`` (the fewest kernels of small images) or ``small`` (nets
            and images of CIFAR-10's size); it replaces the defaults, and given settings override both.
        alpha: Weight of the share of kept channels in the loss of mask phases.
        distillation: Weight of the divergence of the softmax over all modules' scores from the base model's soft
            answers, beside the mean of the modules' binary cross-entropies, in the loss of all phases; 0 for none.
        rounds: Pairs of a mask phase and a tune phase.
        mask_phase: Length of a round's mask phase, which trains masks, scales and read-outs; at least one step.
        tune_phase: Length of a round's tune phase, which trains scales and read-outs alone.
        final_phase: Length of the tune phase of recorded states after the last round: those with the fewest kernels
            first, until one is within the tolerance; states larger than one that is within it untuned are left out. 0
            for none.
        mask_learning_rate: Adam's rate for masks.
        learning_rate: Adam's rate for scales and read-outs; it falls to 0 within a tune phase.
        batch_size: Images per step.
        tolerance: How far a recorded state's accuracy on select may be below the base model's for the state to be
            chosen by its number of kernels; a fraction.
        rescue: Whether a module that has lost its class is restored to its last masks and scales that were alive, with
            a new read-out.
        rescue_attempts: Maximum number of new read-outs for a dead module, each time it dies.
        memory_mb: Memory for the modules' activations in a step, and their gradients, in MiB. Modules that do not fit
            together run in chunks, which takes a second forward pass. Default: most of what is free on a GPU, or of
            the cell's share of it; no limit on the CPU.
    """

    presets: ClassVar = PRESETS

    alpha: float = Field(default=3.0, ge=0)
    distillation: float = Field(default=0.3, ge=0)
    rounds: int = Field(default=12, ge=1)
    mask_phase: PhaseLength = Length(count=80, unit="steps")
    tune_phase: PhaseLength = Length(count=30, unit="steps")
    final_phase: PhaseLength = Length(count=240, unit="steps")
    mask_learning_rate: float = Field(default=0.05, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)
    batch_size: int = Field(default=16, ge=1)
