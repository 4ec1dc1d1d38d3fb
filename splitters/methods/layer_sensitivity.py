"""What a splitter learnt of how much a layer can lose, as part of its result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer's curve, and what the splitter made of it; layers that are tied are one entry.

    Args:
        layer: The layer's name, or the names of tied layers.
        kept_shares: Shares of the layer's kernels that every module kept while all other layers were whole, rising.
            Empty where nothing was measured because the choice was given.
        accuracy: The composed accuracy on select at each of them.
        sensitive: Whether the layer counts as sensitive.
        start_shares: The shares of active genes that the search may start with.
    """

    layer: str
    kept_shares: tuple[float, ...]
    accuracy: tuple[float, ...]
    sensitive: bool
    start_shares: tuple[float, ...]
