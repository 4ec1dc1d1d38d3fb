"""Calibration of a composed model: scores of different kinds, made comparable on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from splitters.data import ImageSet
from splitters.errors import DataError
from splitters.modules.input_adapter import InputAdapter, InputForm
from splitters.modules.module import Module
from splitters.modules.scores import evidence
from splitters.reuse.fusion.convex import minimise

_BATCH = 256

_RIDGE = 1e-3
"""Weight of the squared parameters; keeps them finite where the scores separate the classes without an error."""


@dataclass(frozen=True)
class ScoreCalibration:
    """A scale and a shift per class, applied to scores on an unbounded scale (``evidence``).

    Args:
        scale: One factor per class.
        shift: Added after scaling.
    """

    scale: Float[Tensor, " class"]
    shift: Float[Tensor, " class"]


def calibrate(modules: Sequence[Module], images: ImageSet) -> ScoreCalibration:
    """Fit the calibration that makes the calibrated scores the logits of the right class.

    This is the vector scaling of Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, applied to the
    modules' scores: the loss is the cross-entropy, which is convex.

    Args:
        modules: One module for each of the images' classes, in their order.
        images: Images with labels, of any input format that can be adapted to the modules'. Never the test set.

    Raises:
        ConfigurationError: If the images cannot be adapted to a module.
        DataError: If there is no image of a class, or a score is not finite.
    """
    counts = torch.bincount(images.labels, minlength=images.n_classes)
    missing = [repr(images.class_names[index]) for index in (counts == 0).nonzero().flatten().tolist()]
    if missing:
        raise DataError(f"scores are calibrated on images of every class, but there are none of {', '.join(missing)}.")
    scores = torch.stack([_evidence_of(module, images) for module in modules], dim=1)
    if not bool(torch.isfinite(scores).all()):
        raise DataError("the modules' scores are not finite on all images; they cannot be calibrated.")
    return _vector_scaling(scores, images.labels.cpu())


@torch.no_grad()
def _evidence_of(module: Module, images: ImageSet) -> Float64[Tensor, " sample"]:
    source = InputForm(images.input_shape, images.normalisation)
    source.check_adaptable(module.input_form, name=f"the module of {module.info.class_name!r}")
    adapter = InputAdapter(source, module.input_form).to(module.device)
    scores = torch.cat([module(adapter(batch)).cpu() for batch in images.to(module.device).batches(_BATCH)])
    return evidence(scores.double(), is_probability=module.score.is_probability)


def _vector_scaling(scores: Float64[Tensor, "sample class"], labels: Int64[Tensor, " sample"]) -> ScoreCalibration:
    centre, width = scores.mean(0), scores.std(0, correction=0).clamp(min=1e-12)
    standardised = (scores - centre) / width

    def loss(parameters: Tensor) -> Tensor:
        scale, shift = parameters.view(2, -1)
        return F.cross_entropy(standardised * scale + shift, labels) + _RIDGE * parameters.square().sum()

    start = torch.cat([torch.ones_like(centre), torch.zeros_like(centre)])
    scale, shift = minimise(loss, start).view(2, -1)
    return ScoreCalibration((scale / width).float(), (shift - scale * centre / width).float())
