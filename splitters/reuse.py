"""Putting modules to use: a composed model answers with the class of the highest module score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.cost import Cost
from splitters.errors import ConfigurationError
from splitters.evaluation import composed_answers
from splitters.module import Module


class ComposedModel(nn.Module):
    """Several modules side by side. The modules may come from different base models.

    The classes are in the order of the modules' class names as they are given by ``class_names``; the modules' own
    order plays no part in any answer.

    Args:
        modules: One module for each class, in any order.
        class_names: The order of the classes; by default the base model's where all modules share one, else sorted.

    Raises:
        ConfigurationError: If there is no module, a class comes twice, or inputs do not fit each other.
    """

    def __init__(self, modules: Sequence[Module], class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        _check(modules)
        order = tuple(class_names) if class_names is not None else _default_order(modules)
        given = {module.info.class_name: module for module in modules}
        if sorted(order) != sorted(given):
            raise ConfigurationError(f"the modules recognise {sorted(given)}, but the classes are {sorted(order)}.")
        self.class_names = order
        self.parts = nn.ModuleList(given[name] for name in order)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Returns the modules' scores of normalised images, in the order of ``class_names``."""
        return torch.stack([part(images) for part in self.parts], dim=1)

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "batch channel height width"]) -> Int64[Tensor, " batch"]:
        """Returns the index, in ``class_names``, of the highest score; of equal scores, the lowest index."""
        return composed_answers(self(images).T)

    def cost(self) -> Cost:
        """Returns the sum of the modules' costs."""
        total = Cost(0, 0)
        for part in self.parts:
            assert isinstance(part, Module)
            total = total + part.cost()
        return total


def _check(modules: Sequence[Module]) -> None:
    if not modules:
        raise ConfigurationError("a composed model needs at least one module.")
    twice = [name for name, count in Counter(m.info.class_name for m in modules).items() if count > 1]
    if twice:
        raise ConfigurationError(f"each class needs one module, but there are several for {sorted(twice)}.")
    shapes = {module.info.input_shape for module in modules}
    if len(shapes) > 1:
        raise ConfigurationError(f"modules of one composed model need one input shape; these have {sorted(shapes)}.")
    norms = {(module.info.normalisation.mean, module.info.normalisation.std) for module in modules}
    if len(norms) > 1:
        raise ConfigurationError(f"modules of one composed model need one normalisation; these have {sorted(norms)}.")


def _default_order(modules: Sequence[Module]) -> tuple[str, ...]:
    if len({module.info.class_names for module in modules}) == 1:
        return tuple(module.info.class_name for module in sorted(modules, key=lambda module: module.info.class_index))
    return tuple(sorted(module.info.class_name for module in modules))
