"""Turning off dropout, whatever the network calls it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from splitters.errors import ConfigurationError


def switch_off_dropout(model: nn.Module, input_shape: tuple[int, int, int], *, name: str) -> None:
    """Set every dropout and stochastic depth rate of a network to zero.

    Rates are the ``p`` of dropout layers and attributes with ``drop`` in their name, such as DenseNet's ``drop_rate``.
    A forward pass in train mode then checks that nothing else draws random numbers.

    Args:
        model: The network, on the CPU.
        input_shape: Channels, height and width of its images.
        name: The network's name, for messages.

    Raises:
        ConfigurationError: If the network still draws random numbers in training.
    """
    for module in model.modules():
        class_names = [cls.__name__.lower() for cls in type(module).__mro__]
        is_dropout = any("drop" in name or "stochasticdepth" in name for name in class_names)
        for attribute, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in attribute.lower() or (is_dropout and attribute == "p")):
                setattr(module, attribute, 0.0)
    if _is_random_in_training(model, input_shape):
        raise ConfigurationError(
            f"model {name!r} draws random numbers in training even with all dropout rates at zero, so it cannot be "
            "trained without dropout. Take another network, or another kind of weak model."
        )


@torch.no_grad()
def _is_random_in_training(model: nn.Module, input_shape: tuple[int, int, int]) -> bool:
    trained = copy.deepcopy(model).train()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        trained(torch.zeros(2, *input_shape))
        return not torch.equal(before, torch.get_rng_state())
