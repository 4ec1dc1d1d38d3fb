"""How far a schedule can move a mask, and the warning where that is not far enough to drop a kernel."""

from __future__ import annotations

from splitters.methods.mask_training.settings import MaskTrainingSettings

_AMPLE = 3
"""Safety factor of the suggested mask learning rate: it moves a mask this many times the distance to zero."""


def mask_reach(settings: MaskTrainingSettings, *, samples: int) -> float:
    """Return about how far masks can move: Adam moves a parameter by at most about its rate per step.

    Masks start at 1 and drop their kernel at 0, so that no kernel drops with a reach below 1.

    Args:
        settings: The schedule.
        samples: Number of training images.
    """
    return _mask_steps(settings, samples) * settings.mask_learning_rate


def reach_warnings(settings: MaskTrainingSettings, *, samples: int, presets: str) -> tuple[str, ...]:
    """Return a warning, with the way out, if no kernel can drop.

    Args:
        settings: The schedule.
        samples: Number of training images.
        presets: The presets to take instead, in words.
    """
    reach = mask_reach(settings, samples=samples)
    if reach >= 1:
        return ()
    steps = _mask_steps(settings, samples)
    rounds = -(-_AMPLE * settings.rounds // reach)
    return (
        f"no kernel can be dropped: {steps} mask steps at a mask_learning_rate of {settings.mask_learning_rate:g} "
        f"move masks by at most {reach:.2g}, but a mask must move by 1, from 1 to 0, before its kernel is dropped. Set "
        f"mask_learning_rate to {_AMPLE / steps:.2g}, or rounds to {rounds:.0f}, or take preset={presets}.",
    )


def _mask_steps(settings: MaskTrainingSettings, samples: int) -> int:
    return settings.rounds * settings.mask_phase.steps(samples=samples, batch_size=settings.batch_size)
