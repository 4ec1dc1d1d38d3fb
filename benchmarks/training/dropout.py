"""Training without dropout, whatever the network calls it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from splitters.errors import ConfigurationError


def switch_off_dropout(model: nn.Module, input_shape: tuple[int, int, int], *, name: str) -> None:
    """Sets every rate of dropout and of stochastic depth in a network to zero.

    Rates are found in dropout layers (``p``) and in attributes that have ``drop`` in their name, such as DenseNet's
    ``drop_rate``. A pass in train mode then shows whether anything is left that draws random numbers.

    Args:
        model: The network, on the CPU.
        input_shape: Channels, height and width of its images.
        name: What the network is called, for messages.

    Raises:
        ConfigurationError: If the network still draws random numbers in training.
    """
    for module in model.modules():
        kinds = [cls.__name__.lower() for cls in type(module).__mro__]
        is_dropout = any("drop" in kind or "stochasticdepth" in kind for kind in kinds)
        for attribute, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in attribute.lower() or (is_dropout and attribute == "p")):
                setattr(module, attribute, 0.0)
    if _draws_in_training(model, input_shape):
        raise ConfigurationError(
            f"model {name!r} draws random numbers in training that are no rate of dropout which can be set to zero, so "
            "it cannot be trained without dropout. Take another network, or another kind of weak model."
        )


@torch.no_grad()
def _draws_in_training(model: nn.Module, input_shape: tuple[int, int, int]) -> bool:
    tried = copy.deepcopy(model).train()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        tried(torch.zeros(2, *input_shape))
        return not torch.equal(before, torch.get_rng_state())
