"""GradSplitter's settings. The defaults are the paper's (arXiv 2311.04438)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from splitters.methods.gradsplitter.presets import PRESETS
from splitters.methods.mask_training.settings import MaskTrainingSettings
from splitters.methods.scoring.kinds import ScoreKind
from splitters.settings import Length, PhaseLength


def _is_none(value: object) -> bool:
    return value is None


def _is_head(value: object) -> bool:
    return value == "head"


def _is_channels(value: object) -> bool:
    return value == "channels"


class GradSplitterSettings(MaskTrainingSettings):
    """Settings of GradSplitter.

    With Adam, a mask that starts at 1 moves by about its learning rate per step: no kernel can drop before about
    ``1 / mask_learning_rate`` mask steps. Shorter schedules need a higher rate; where no kernel can drop, a warning
    says so before the search.

    Args:
        preset: A schedule: ``paper`` (hours), ``small`` (minutes on a CPU) or ``fast`` (a first try); it replaces the
            defaults, and given settings override both.
        alpha: Weight of the mean of all bits in the loss of mask phases.
        sparsity: What that mean is over: the maskable ``channels`` of all modules, where one that ties several
            convolutions (residual sums) counts once, or their ``kernels``, where it counts once for each of them.
        rounds: Pairs of a mask phase and a head phase.
        warmup: Length of the first head phase, e.g. ``5 epochs`` or ``75 steps``.
        mask_phase: Length of a round's mask phase, which trains masks and heads; at least one step.
        head_phase: Length of a round's head phase, which trains heads alone.
        warmup_learning_rate: Adam's rate for the first head phase.
        mask_learning_rate: Adam's rate for masks.
        head_learning_rate: Adam's rate for heads after the first head phase.
        batch_size: Images per step.
        head_width: Hidden units of a head.
        score: How modules are scored when states are chosen from and in the result: by the ``head`` that was trained
            with the masks, by the raw ``logit`` of their class, or by that logit with a scale and a shift that give it
            the base model's mean and standard deviation (``moments``). The search uses heads in any case.
        tolerance: How far a recorded state's accuracy on select may be below the base model's for the state to be
            chosen by its number of kernels; a fraction.
        rescue: Whether a module that has lost its class is restored to its last masks that were alive, with a new head.
            The paper's method leaves it dead.
        rescue_attempts: Maximum number of new heads for a dead module, each time it dies.
        memory_mb: Memory for the modules' activations in a step, and their gradients, in MiB. Modules that do not fit
            together run in chunks, which takes a second forward pass. Default: most of what is free on a GPU, or of
            the cell's share of it; no limit on the CPU.
    """

    presets: ClassVar = PRESETS

    # Left out of dumps at its default, so that the identities of earlier results stay what they were.
    preset: str | None = Field(default=None, exclude_if=_is_none)
    alpha: float = Field(default=0.1, ge=0)
    sparsity: Literal["channels", "kernels"] = Field(default="channels", exclude_if=_is_channels)
    rounds: int = Field(default=20, ge=1)
    warmup: PhaseLength = Length(count=5, unit="epochs")
    mask_phase: PhaseLength = Length(count=5, unit="epochs")
    head_phase: PhaseLength = Length(count=2, unit="epochs")
    warmup_learning_rate: float = Field(default=0.01, gt=0)
    mask_learning_rate: float = Field(default=0.001, gt=0)
    head_learning_rate: float = Field(default=0.001, gt=0)
    batch_size: int = Field(default=64, ge=1)
    head_width: int = Field(default=10, ge=1)
    score: ScoreKind = Field(default="head", exclude_if=_is_head)
