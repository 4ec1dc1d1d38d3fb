"""What a network says about whole sets of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.data import ImageSet
from splitters.networks.inference import Tick, accuracy, network_logits, no_tick


def predict_logits(
    model: nn.Module, images: ImageSet, batch_size: int = 256, *, tick: Tick = no_tick
) -> Float[Tensor, "sample n_classes"]:
    """Return the logits of all images, in order, on the model's device.

    Args:
        model: A network; it is run in eval mode and given back in the mode that it had.
        images: At least one image, on any device.
        batch_size: Images per forward pass.
        tick: Called after every batch.
    """
    with evaluating(model):
        return network_logits(model, images.to(_device_of(model)), batch_size=batch_size, tick=tick)


def evaluate_accuracy(model: nn.Module, images: ImageSet, batch_size: int = 256, *, tick: Tick = no_tick) -> float:
    """Return the share of images whose highest logit is their label's, in [0, 1]; see ``predict_logits``."""
    answers = predict_logits(model, images, batch_size, tick=tick).argmax(dim=1)
    return accuracy(answers, images.labels.to(answers.device))


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in eval mode for the block, and every part of it back in its own mode after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
