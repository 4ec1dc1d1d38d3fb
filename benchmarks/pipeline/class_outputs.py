"""Outputs of modules and base models on the images of single classes, which the tasks of a cell share."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, fx

from benchmarks.pipeline.composed_cost import ModuleRef
from benchmarks.pipeline.split_model import SplitModel
from benchmarks.training.last_layer import Features, feature_extractor
from splitters.data import ImageSet
from splitters.modules.inference import module_scores
from splitters.networks.inference import network_logits
from splitters.reuse.composed import ComposedModel

Role = Literal["train", "select", "test"]

_CACHE_BYTES = 1 << 30
"""Outputs are kept up to this size; what does not fit is computed anew."""


@dataclass
class ClassOutputs:
    """Scores and features of images by class; a class is named by its module.

    The images of a task are those of its classes, class after class, normalised as the first one's.

    Args:
        device: Where they are computed, and kept.
    """

    device: str
    _values: dict[Hashable, tuple[Tensor, float]] = field(default_factory=dict, repr=False)
    _extractors: dict[SplitModel, fx.GraphModule] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def scores(
        self, composed: ComposedModel, classes: Sequence[ModuleRef], role: Role
    ) -> Float[Tensor, "sample class"]:
        """Return an uncalibrated composed model's scores of a task's images.

        Args:
            composed: The model, on ``device``.
            classes: The classes in its order, and its modules.
            role: Which images.
        """
        columns = []
        for module, part, adapter in zip(classes, composed.modules_in_order, composed.adapters, strict=True):
            run = partial(module_scores, part, adapter=adapter)
            parts = self._of_classes((module, composed.input_form), run, classes, role)
            columns.append(torch.cat([values for values, _ in parts]))
        return torch.stack(columns, dim=1)

    def features(self, model: SplitModel, classes: Sequence[ModuleRef], role: Role) -> Features:
        """Return a base model's features of a task's images.

        Raises:
            ConfigurationError: If the model does not end with a linear layer.
        """
        if model not in self._extractors:
            self._extractors[model] = feature_extractor(model.graph.network)
        extractor = self._extractors[model]
        parts = self._of_classes(model, lambda images: network_logits(extractor, images), classes, role)
        values = torch.cat([values for values, _ in parts])
        counts = torch.tensor([len(values) for values, _ in parts])
        labels = torch.arange(len(classes)).repeat_interleave(counts).to(values.device)
        return Features(values, labels, len(classes), sum(seconds for _, seconds in parts))

    def _of_classes(
        self, key: Hashable, run: Callable[[ImageSet], Tensor], classes: Sequence[ModuleRef], role: Role
    ) -> list[tuple[Tensor, float]]:
        """Return the outputs for each class's images, and the seconds that they took when they were computed."""
        normalisation = classes[0].model.prepared.roles.train.normalisation
        parts: list[tuple[Tensor, float]] = []
        for source in classes:
            full_key = (key, source, role, normalisation)
            if full_key in self._values:
                parts.append(self._values[full_key])
                continue
            images = replace(self._images(source, role), normalisation=normalisation).to(self.device)
            started = time.perf_counter()
            values = run(images)
            parts.append((values, time.perf_counter() - started))
            size = values.numel() * values.element_size()
            if self._bytes + size <= _CACHE_BYTES:
                self._bytes += size
                self._values[full_key] = parts[-1]
        return parts

    def _images(self, source: ModuleRef, role: Role) -> ImageSet:
        roles = source.model.prepared.roles
        images: ImageSet = {"train": roles.train, "select": roles.select, "test": roles.test}[role]
        return images.of_classes((source.module.info.class_name,))
