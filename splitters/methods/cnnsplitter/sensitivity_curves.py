"""Sensitivity curves: composed accuracy as one layer loses kernels, and the start shares derived from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from splitters.data import ImageSet
from splitters.graph.layout import ChannelLayout
from splitters.methods.cnnsplitter.genes import group_name
from splitters.methods.kernel_choice.layer_sensitivity import LayerSensitivity
from splitters.modules.calibration import Calibration
from splitters.networks.inference import accuracy, composed_answers
from splitters.networks.masks import repair
from splitters.networks.shared_forward import SharedForward

_SLACK = 1e-9
"""Absorbs the rounding of differences between accuracies, which are ratios of counts."""


@dataclass(frozen=True)
class SensitivityCurves:
    """Composed accuracy over the share of a layer's kernels that every module keeps, all other layers whole.

    Args:
        names: The layers; tied ones are one entry, see ``group_name``.
        shares: The shares at which the curves were measured, rising.
        accuracy: The curves, on the images of the search.
        base_accuracy: The base model's accuracy on the same images.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    accuracy: Float64[Tensor, "layer share"]
    base_accuracy: float

    def level_from(self, tolerance: float) -> Float64[Tensor, " layer"]:
        """Return the lowest share from which on each curve stays within a tolerance of the base model's accuracy.

        It is 1 for curves that are never level.
        """
        level = self.accuracy >= self.base_accuracy - tolerance - _SLACK
        from_here_on = level.flip(1).long().cumprod(1).flip(1).bool()
        shares = torch.tensor(self.shares, dtype=torch.float64).expand_as(self.accuracy)
        return torch.where(from_here_on, shares, torch.ones_like(shares)).amin(1)


@dataclass(frozen=True)
class StartShares:
    """The sensitive layers, and the shares of active genes in the start population.

    Args:
        sensitive: Whether each channel group is sensitive.
        shares: For each channel group, the shares from which a candidate draws one.
    """

    sensitive: tuple[bool, ...]
    shares: tuple[tuple[float, ...], ...]


def measure_curves(
    forward: SharedForward,
    layout: ChannelLayout,
    importance: Float[Tensor, "class channel"],
    images: ImageSet,
    *,
    calibration: Calibration,
    shares: Sequence[float],
    done: int = 0,
) -> Iterator[list[float]]:
    """Yield the curve of each remaining channel group.

    Args:
        forward: Runs the modules.
        layout: The channels.
        importance: Each channel's importance for each class: a module keeps the top ones.
        images: The images on which accuracy is measured.
        calibration: Turns logits into scores.
        shares: The shares r at which each curve is measured; a layer with n kernels keeps r * n, rounded, at least one.
        done: The number of groups to skip.
    """
    n_classes, n_channels = importance.shape
    classes = torch.arange(n_classes).repeat(len(shares))
    for group in layout.groups[done:]:
        channels = torch.tensor(group.channels)
        order = importance[:, channels].argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(len(channels)).expand_as(order))
        bits = torch.ones(len(shares), n_classes, n_channels, dtype=torch.bool)
        for row, share in enumerate(shares):
            bits[row, :, channels] = rank < max(1, round(share * len(channels)))
        flat = repair(layout, bits.flatten(0, 1), importance.repeat(len(shares), 1))
        scores = calibration.apply(forward.class_logits(flat, classes, images), classes)
        answers = (composed_answers(part) for part in scores.view(len(shares), n_classes, -1))
        yield [accuracy(answer, images.labels) for answer in answers]


def start_shares(
    layout: ChannelLayout,
    curves: SensitivityCurves | None,
    *,
    tolerance: float,
    sensitive_from: float | None,
    margin: float,
    sensitive_layers: Sequence[int] | None,
    sensitive_shares: Sequence[float] | None,
    other_shares: Sequence[float] | None,
) -> StartShares:
    """Derive sensitive layers and start shares from the curves, which the papers' authors read by eye.

    A layer is sensitive if its curve is level only from the share ``sensitive_from`` on, or from a higher one; without
    such a share, from a share above the mean over all layers: how early curves fall depends on how wide a network is.
    The layers of a kind start with three shares: the mean share from which their curves are level plus the margin,
    rounded to a tenth and between 0.1 and 0.8, and one and two tenths more, so that the search has a choice in every
    layer. Given values override those derived from the curves.

    Args:
        layout: The channels.
        curves: May be None if all three choices are given.
        tolerance: How far below the base model's accuracy a curve still counts as level.
        sensitive_from: See above.
        margin: See above.
        sensitive_layers: Convolutions, counted from 0, that are sensitive.
        sensitive_shares: Start shares of sensitive layers.
        other_shares: Start shares of the others.
    """
    level = None if curves is None else curves.level_from(tolerance)
    if sensitive_layers is not None:
        sensitive = torch.tensor([bool(set(group.layers) & set(sensitive_layers)) for group in layout.groups])
    elif sensitive_from is not None:
        sensitive = _required(level) >= sensitive_from - _SLACK
    else:
        sensitive = _required(level) > _required(level).mean() + _SLACK
    chosen = {
        True: tuple(sensitive_shares) if sensitive_shares else _shares_of(level, sensitive, margin),
        False: tuple(other_shares) if other_shares else _shares_of(level, ~sensitive, margin),
    }
    kinds = tuple(sensitive.tolist())
    return StartShares(kinds, tuple(chosen[kind] for kind in kinds))


def _shares_of(level: Tensor | None, kind: Bool[Tensor, " layer"], margin: float) -> tuple[float, ...]:
    if not kind.any():
        return (1.0,)
    tenths = math.floor((float(_required(level)[kind].mean()) + margin) * 10 + 0.5)
    return tuple((min(max(1, tenths), 8) + more) / 10 for more in range(3))


def _required(level: Tensor | None) -> Tensor:
    if level is None:
        raise ValueError("without curves, the sensitive layers and both lists of shares must be given")
    return level


def layer_sensitivities(
    layout: ChannelLayout, curves: SensitivityCurves | None, shares: StartShares | None
) -> tuple[LayerSensitivity, ...]:
    """Return curves and choices as part of a result: one entry per channel group, none without choices."""
    if shares is None:
        return ()
    return tuple(
        LayerSensitivity(
            layer=name,
            kept_shares=curves.shares if curves else (),
            accuracy=tuple(curves.accuracy[row].tolist()) if curves else (),
            sensitive=shares.sensitive[row],
            start_shares=shares.shares[row],
        )
        for row, name in enumerate(curve_names(layout))
    )


def curve_names(layout: ChannelLayout) -> tuple[str, ...]:
    """Return the name of each channel group's curve."""
    return tuple(group_name(layout, group) for group in layout.groups)
