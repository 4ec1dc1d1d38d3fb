"""The settings that every search by mask training has."""

from __future__ import annotations

from pydantic import Field, field_validator

from splitters.methods.kernel_choice.kernel_multiples import KernelMultiples
from splitters.settings import Length, PhaseLength, PresetSettings


def _is_none(value: object) -> bool:
    return value is None


class MaskTrainingSettings(PresetSettings, KernelMultiples):
    """What the shared trainer and search read; methods add their own and set the defaults.

    Args:
        alpha: Weight of the share of kept channels in the loss of mask phases.
        rounds: Rounds of a mask phase and a phase that trains everything but masks.
        mask_phase: Length of a round's mask phase; at least one step.
        mask_learning_rate: Adam's rate for masks.
        batch_size: Images per step.
        tolerance: How far a recorded state's accuracy on select may be below the base model's for the state to be
            chosen by its number of kernels; a fraction.
        rescue: Whether a module that has lost its class is restored to its last masks that were alive.
        rescue_attempts: Maximum number of restorations of a dead module, each time it dies.
        memory_mb: Memory for the modules' activations in a step, and their gradients, in MiB. Modules that do not fit
            together run in chunks, which takes a second forward pass. Default: most of what is free on a GPU, or of
            the cell's share of it; no limit on the CPU.
    """

    alpha: float = Field(ge=0)
    rounds: int = Field(ge=1)
    mask_phase: PhaseLength
    mask_learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    tolerance: float = Field(default=0.01, ge=0, le=1)
    rescue: bool = True
    rescue_attempts: int = Field(default=3, ge=1)
    # Left out of dumps at its default, so that the identities of earlier results stay what they were.
    memory_mb: int | None = Field(default=None, ge=1, exclude_if=_is_none)

    @field_validator("mask_phase")
    @classmethod
    def _trains_masks(cls, length: Length) -> Length:
        if not length.count:
            raise ValueError(f"a round without mask steps finds no modules; write '1 steps' or more, not '{length}'")
        return length
