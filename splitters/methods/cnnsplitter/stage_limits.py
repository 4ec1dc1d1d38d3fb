"""What the settings mean for a task: what each stage of merging keeps, and whether the layers they name exist."""

from __future__ import annotations

from splitters.errors import ConfigurationError
from splitters.graph.layout import ChannelLayout
from splitters.methods.cnnsplitter.merging import StageLimits, stage_sizes
from splitters.methods.cnnsplitter.presets import PRESETS
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings


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


def check_layers(settings: CNNSplitterSettings, layout: ChannelLayout) -> None:
    """Checks that the sensitive layers are convolutions of this net, where the search asks for them.

    A preset's own layers mean the net of the paper only. With other layers, its further choices fit any net.

    Raises:
        ConfigurationError: If they are not.
    """
    layers, count = settings.sensitive_layers, len(layout.layers)
    if layers is None or settings.initialization == "random":
        return
    preset = PRESETS[settings.preset] if settings.preset else None
    if preset is not None and layers == preset.sensitive_layers and count != preset.convolutions:
        raise ConfigurationError(
            f"the preset {settings.preset!r} names layers of a net with {preset.convolutions} convolutions; "
            f"this one has {count}. Choose another preset, or give other sensitive_layers."
        )
    unknown = sorted(layer for layer in set(layers) if layer >= count)
    if unknown:
        raise ConfigurationError(
            f"sensitive_layers names {unknown}; this net has {count} convolutions, counted from 0 to {count - 1}."
        )
