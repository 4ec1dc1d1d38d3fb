"""How sensitive a layer is to the loss of kernels, as part of a splitter's result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSensitivity:
    """A layer's sensitivity curve and the splitter's decision; tied layers form one entry.

    Args:
        layer: The layer's name, or the names of tied layers.
        kept_shares: Shares of the layer's kernels that every module keeps while all other layers stay whole, in rising
            order; empty where the decision was given and nothing was measured.
        accuracy: The composed accuracy at each share, on the images that the splitter searches on.
        sensitive: Whether the layer counts as sensitive.
        start_shares: The shares of active genes in the start population.
    """

    layer: str
    kept_shares: tuple[float, ...]
    accuracy: tuple[float, ...]
    sensitive: bool
    start_shares: tuple[float, ...]
