"""The paper's settings for each base model and data set (arXiv 2209.06116 and its artefact)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Preset:
    """The paper's settings for one base model and data set, named as in ``CNNSplitterSettings``.

    ``convolutions`` is not a setting: it is the base model's number of convolutions, in which sensitive layers are
    counted.
    """

    convolutions: int
    sensitive_layers: tuple[int, ...]
    sensitive_shares: tuple[float, ...]
    other_shares: tuple[float, ...]
    mutation_rate: float
    gamma: float
    thresholds: tuple[float, ...]

    def settings(self) -> dict[str, object]:
        """Return the settings by name."""
        return {name: value for name, value in asdict(self).items() if name != "convolutions"}


PRESETS: Mapping[str, Preset] = {
    "simcnn-cifar10": Preset(
        convolutions=13,
        sensitive_layers=(0, 1, 2, 3, 4, 5, 6),
        sensitive_shares=(0.6, 0.7, 0.8),
        other_shares=(0.4, 0.5, 0.6, 0.7),
        mutation_rate=0.05,
        gamma=0.90,
        thresholds=(0.95, 0.95, 0.85, 0.80),
    ),
    "simcnn-svhn": Preset(
        convolutions=13,
        sensitive_layers=(0, 1, 2, 3, 4, 5, 6),
        sensitive_shares=(0.4, 0.5, 0.6),
        other_shares=(0.1, 0.2, 0.3, 0.4),
        mutation_rate=0.10,
        gamma=0.95,
        thresholds=(0.95, 0.95, 0.85, 0.80),
    ),
    "rescnn-cifar10": Preset(
        convolutions=12,
        sensitive_layers=(0, 1, 3, 4, 5, 7),
        sensitive_shares=(0.5, 0.6, 0.7),
        other_shares=(0.2, 0.3, 0.4),
        mutation_rate=0.05,
        gamma=0.90,
        thresholds=(0.95, 0.95, 0.85, 0.80),
    ),
    "rescnn-svhn": Preset(
        convolutions=12,
        sensitive_layers=(1, 3, 4, 5, 7),
        sensitive_shares=(0.3, 0.4, 0.5),
        other_shares=(0.2, 0.3),
        mutation_rate=0.10,
        gamma=0.90,
        thresholds=(0.95, 0.95, 0.90, 0.85),
    ),
    "simcnn-svhn-0-4": Preset(
        convolutions=13,
        sensitive_layers=(0, 1, 2, 3, 4),
        sensitive_shares=(0.4, 0.5, 0.6, 0.7),
        other_shares=(0.3, 0.4),
        mutation_rate=0.10,
        gamma=0.95,
        thresholds=(0.95, 0.90, 0.85),
    ),
    "rescnn-svhn-0-4": Preset(
        convolutions=12,
        sensitive_layers=(4, 5, 7),
        sensitive_shares=(0.3, 0.4, 0.5),
        other_shares=(0.2, 0.3),
        mutation_rate=0.10,
        gamma=0.90,
        thresholds=(0.95, 0.90, 0.85),
    ),
}
"""Presets by name."""
