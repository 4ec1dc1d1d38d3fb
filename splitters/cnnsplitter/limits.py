"""What each stage of merging keeps, by the settings."""

from __future__ import annotations

from splitters.cnnsplitter.merging import StageLimits, stage_sizes
from splitters.cnnsplitter.settings import CNNSplitterSettings
from splitters.errors import ConfigurationError


def stage_limits(settings: CNNSplitterSettings, n_classes: int) -> list[StageLimits]:
    """Returns the limits of each stage; ``exhaustive`` has none.

    Raises:
        ConfigurationError: If ``exhaustive`` would try more compositions than are allowed.
    """
    stages = len(stage_sizes(n_classes))
    if settings.evaluation == "exhaustive":
        compositions = settings.population**n_classes
        if compositions > settings.max_compositions:
            raise ConfigurationError(
                f"evaluation: exhaustive would try {compositions} compositions in every generation "
                f"({settings.population} candidates of {n_classes} classes); {settings.max_compositions} are allowed. "
                "Choose a smaller population or fewer classes, raise max_compositions, or use merging."
            )
        return [StageLimits(0.0, compositions, compositions)] * stages
    return [
        StageLimits(threshold, settings.min_kept, settings.max_kept)
        for threshold in stage_thresholds(settings.thresholds, stages)
    ]


def stage_thresholds(thresholds: tuple[float, ...], stages: int) -> tuple[float, ...]:
    """Fits thresholds to a number of stages: the last stage takes the last threshold, which is repeated if need be."""
    if stages <= len(thresholds):
        return (*thresholds[: stages - 1], thresholds[-1])
    return thresholds + thresholds[-1:] * (stages - len(thresholds))
