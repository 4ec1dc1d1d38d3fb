"""``gradsplitter.head_phase``: an epoch of the first head phase, in which modules are still the whole network."""

from __future__ import annotations

from benchmarks.speed.gradsplitter.contest import Contest, layer_flops, synthetic_task
from benchmarks.speed.measurement import Measurement, in_turns
from splitters.methods.gradsplitter.settings import GradSplitterSettings

_EPOCHS = 5
"""Of the paper's first head phase, which shares the modules' logits."""


def measure(
    *,
    width: float = 0.25,
    images: int = 200,
    batch_size: int = 64,
    classes: int = 10,
    epochs: int = _EPOCHS,
    repeats: int = 2,
    device: str = "cpu",
) -> Measurement:
    """Compare a head phase with running all modules in every step, per epoch.

    Args:
        width: Share of SimCNN's channels.
        images: Training images.
        batch_size: Images per step.
        classes: Number of modules.
        epochs: Length of the phase.
        repeats: Timed phases.
        device: Where both run.
    """
    settings = GradSplitterSettings.parse(
        {"batch_size": batch_size, "warmup": f"{epochs} epochs"}, where="gradsplitter"
    )
    contest = Contest.of(synthetic_task(width=width, images=images, classes=classes, device=device), settings)
    steps = contest.ours.steps_of(settings.warmup)

    def ours() -> None:
        contest.ours.score_phase(settings.warmup, settings.warmup_learning_rate)

    def plain() -> None:
        contest.plain.head_phase(contest.batches(steps), learning_rate=settings.warmup_learning_rate)

    seconds, reference_seconds = in_turns(ours, plain, repeats=repeats, device=device)
    contest.check()
    convolutions, linear = layer_flops(contest.plain.model)
    return Measurement(
        "gradsplitter.head_phase",
        seconds=seconds / epochs,
        reference_seconds=reference_seconds / epochs,
        detail=f"SimCNN at width {width:g}, {classes} modules, {images} images, batches of {batch_size}; "
        f"per epoch of a first head phase of {epochs}",
        ours=ours,
        flops=images * (sum(convolutions) + linear) / epochs,
        repeats=repeats,
    )
