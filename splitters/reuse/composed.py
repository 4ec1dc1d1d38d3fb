"""Putting modules to use: a composed model answers with the class of the highest module score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.errors import ConfigurationError
from splitters.modules.input_adapter import InputAdapter, InputForm
from splitters.modules.module import Module
from splitters.networks.cost import Cost
from splitters.networks.inference import composed_answers


class ReusedModel(nn.Module):
    """A classifier made of finished parts, which knows its classes' names and what its images look like.

    Args:
        class_names: The classes, in the order of the scores.
        input_form: What its images look like.
    """

    def __init__(self, class_names: tuple[str, ...], input_form: InputForm) -> None:
        super().__init__()
        self.class_names = class_names
        self.input_form = input_form

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "batch channel height width"]) -> Int64[Tensor, " batch"]:
        """Returns the index, in ``class_names``, of the highest score; of equal scores, the lowest index.

        Args:
            images: Normalised images.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return self.answers(self(images))

    @staticmethod
    def answers(scores: Float[Tensor, "batch class"]) -> Int64[Tensor, " batch"]:
        """Returns the index of the highest score, as ``predict`` does, for scores that are there already.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return composed_answers(scores.T)

    def predict_names(self, images: Float[Tensor, "batch channel height width"]) -> list[str]:
        """Returns the name of each normalised image's class."""
        return [self.class_names[index] for index in self.predict(images).tolist()]

    def save(self, path: Path | str) -> None:
        """Writes the whole model as one safetensors file, which ``load_model`` reads without anything else.

        Raises:
            ModuleFileError: If a network uses an operation that files do not know; nothing is written.
        """
        from splitters.reuse.model_file import save_model

        save_model(self, path)


class ComposedModel(ReusedModel):
    """Several modules side by side. The modules may come from different base models.

    The classes are in the order of the modules' class names as they are given by ``class_names``; the modules' own
    order plays no part in any answer. Where modules take images of different forms, the model takes the largest of
    these forms, and brings images to the others'.

    Args:
        modules: One module for each class, in any order.
        class_names: The order of the classes; by default the base model's where all modules share one, else sorted.

    Raises:
        ConfigurationError: If there is no module, a class comes twice, or inputs cannot be made to fit each other.
    """

    def __init__(self, modules: Sequence[Module], class_names: Sequence[str] | None = None) -> None:
        _check(modules)
        order = tuple(class_names) if class_names is not None else _default_order(modules)
        given = {module.info.class_name: module for module in modules}
        if sorted(order) != sorted(given):
            raise ConfigurationError(f"the modules recognise {sorted(given)}, but the classes are {sorted(order)}.")
        # Grey images can become coloured ones, and not the other way round.
        forms = [module.input_form for module in modules]
        form = max([form for form in forms if form.shape[0] == 1] or forms)
        for module in modules:
            form.check_reachable(module.input_form, what=f"the module of {module.info.class_name!r}")
        super().__init__(order, form)
        self.parts = nn.ModuleList(given[name] for name in order)
        self.adapters = nn.ModuleList(InputAdapter(form, given[name].input_form) for name in order)

    @property
    def modules_in_order(self) -> list[Module]:
        """The modules, in the order of ``class_names``."""
        return [part for part in self.parts if isinstance(part, Module)]

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Returns the modules' scores of normalised images, in the order of ``class_names``."""
        pairs = zip(self.parts, self.adapters, strict=True)
        return torch.stack([part(adapter(images)) for part, adapter in pairs], dim=1)

    @property
    def n_kernels(self) -> int:
        """How many kernels the modules have, all in all."""
        return sum(len(kept) for part in self.modules_in_order for kept in part.info.kept.values())

    @property
    def n_kernels_union(self) -> int:
        """How many different kernels these are; kernels of different base models always differ."""
        return len(
            {
                (part.info.base_model_hash or id(part), layer, kernel)
                for part in self.modules_in_order
                for layer, kept in part.info.kept.items()
                for kernel in kept
            }
        )

    def cost(self) -> Cost:
        """Returns the sum of the modules' costs."""
        total = Cost(0, 0)
        for part in self.modules_in_order:
            total = total + part.cost()
        return total


def compose(modules: Sequence[Module], class_names: Sequence[str] | None = None) -> ComposedModel:
    """Returns a classifier of the modules' classes; see ``ComposedModel``."""
    return ComposedModel(modules, class_names)


def _check(modules: Sequence[Module]) -> None:
    if not modules:
        raise ConfigurationError("a composed model needs at least one module.")
    twice = [name for name, count in Counter(m.info.class_name for m in modules).items() if count > 1]
    if twice:
        raise ConfigurationError(f"each class needs one module, but there are several for {sorted(twice)}.")


def _default_order(modules: Sequence[Module]) -> tuple[str, ...]:
    if len({module.info.class_names for module in modules}) == 1:
        return tuple(module.info.class_name for module in sorted(modules, key=lambda module: module.info.class_index))
    return tuple(sorted(module.info.class_name for module in modules))
