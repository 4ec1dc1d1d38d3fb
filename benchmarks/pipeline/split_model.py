"""Base models that have been split: what scenarios of reuse take modules from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.cells import Cell
from benchmarks.pipeline.finished_split import FinishedSplit, cached_split
from benchmarks.pipeline.preparation import Prepared
from benchmarks.pipeline.workspace import Workspace
from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.module import Module, extract_modules
from splitters.networks.inference import module_logits, network_logits

_BATCH = 256


@dataclass(frozen=True, eq=False)
class SplitModel:
    """A base model and the modules that it was split into; each is equal to itself alone.

    Args:
        name: What it is called in rows and warnings.
        prepared: Its images and weights.
        graph: Its channel graph.
        split: What the splitter found.
        modules: One module per class, in the order of its classes.
    """

    name: str
    prepared: Prepared
    graph: ChannelGraph
    split: FinishedSplit
    modules: tuple[Module, ...]

    @torch.no_grad()
    def scores(self, images: ImageSet) -> Float[Tensor, "module sample"]:
        """Returns every module's score for all images, on the CPU."""
        result = self.split.result
        return result.scores(module_logits(self.graph, result.masks, images.to(self._device))).cpu()

    @torch.no_grad()
    def module_scores(self, class_index: int, images: ImageSet) -> Float[Tensor, " sample"]:
        """Returns one module's score for all images, on the CPU."""
        module = self.modules[class_index]
        return torch.cat([module(batch).cpu() for batch in images.to(self._device).batches(_BATCH)])

    def logits(self, images: ImageSet) -> Float[Tensor, "sample class"]:
        """Returns the whole network's logits for all images, on the CPU."""
        return network_logits(self.graph.network, images.to(self._device)).cpu()

    @property
    def warnings(self) -> list[str]:
        """What the splitter warns of, each with the model's name."""
        return [f"{self.name}: {text}" for text in self.split.result.warnings]

    @property
    def _device(self) -> torch.device:
        return next(self.graph.network.parameters()).device


def split_base_model(cell: Cell, prepared: Prepared, workspace: Workspace, *, name: str) -> SplitModel:
    """Splits a trained base model with a cell's splitter, or finds the result in the cache.

    Args:
        cell: Names the splitter and the network.
        prepared: Images and base model.
        workspace: Where to work.
        name: What the base model is called.

    Raises:
        SplitbenchError: If the splitter fails.
    """
    select = prepared.roles.select
    graph = ChannelGraph.trace(prepared.base.model, select.normalisation(select.images[:2]).to(workspace.device))
    split = cached_split(cell, prepared, graph, workspace)
    modules = extract_modules(graph, split.result, select.class_names, select.normalisation)
    return SplitModel(name, prepared, graph, split, tuple(modules))


def with_class_name(module: Module, name: str) -> Module:
    """Returns a module of the same network under another class name."""
    info = module.info
    names = tuple(name if index == info.class_index else other for index, other in enumerate(info.class_names))
    return Module(module.network, module.score, info.model_copy(update={"class_name": name, "class_names": names}))
