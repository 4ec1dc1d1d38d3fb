"""Base models that have been split: where scenarios take modules from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from benchmarks.cells import Cell
from benchmarks.pipeline.finished_split import FinishedSplit, cached_split
from benchmarks.pipeline.preparation import Prepared
from benchmarks.pipeline.workspace import Workspace
from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.inference import module_scores
from splitters.modules.module import Module, extract_modules
from splitters.networks.cost import Cost, base_cost
from splitters.networks.inference import ModuleNetworks, Tick, network_logits, no_tick
from splitters.reuse.composed import ComposedModel, compose


@dataclass(frozen=True, eq=False)
class SplitModel:
    """A base model and the modules that it was split into. Compared by identity.

    Args:
        name: Its name in rows and warnings.
        prepared: Its images and weights.
        graph: Its channel graph.
        split: The splitter's result.
        modules: One module per class, in the order of the classes.
    """

    name: str
    prepared: Prepared
    graph: ChannelGraph
    split: FinishedSplit
    modules: tuple[Module, ...]
    _module_costs: dict[int, Cost] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def composed(self) -> ComposedModel:
        """All its modules, composed."""
        return compose(self.modules)

    @cached_property
    def base_cost(self) -> Cost:
        """The cost of the whole base model."""
        return base_cost(self.graph)

    def module_cost(self, class_index: int) -> Cost:
        """Return one module's cost, which is measured once."""
        if class_index not in self._module_costs:
            self._module_costs[class_index] = self.modules[class_index].cost()
        return self._module_costs[class_index]

    @cached_property
    def _distinct(self) -> ModuleNetworks:
        """The modules' networks, of which equal ones run once."""
        distinct, index = torch.unique(self.split.result.masks.gates, dim=0, return_inverse=True)
        first = [int((index == number).nonzero()[0]) for number in range(len(distinct))]
        return ModuleNetworks(tuple(self.modules[module].network for module in first), index)

    @torch.no_grad()
    def scores(self, images: ImageSet, *, tick: Tick = no_tick) -> Float[Tensor, "module sample"]:
        """Return each module's scores of all images, on the CPU. Modules with equal masks share their forward passes.

        Args:
            images: The images, on any device.
            tick: Called after every batch of every network.
        """
        logits = self._distinct.logits(images.to(self.device), tick=tick)
        return torch.stack([module.score(logits[index]) for index, module in enumerate(self.modules)]).cpu()

    def answers(self, images: ImageSet, *, tick: Tick = no_tick) -> Int64[Tensor, " sample"]:
        """Return the answers of all modules, composed, on the CPU; see ``scores``."""
        return self.composed.answers(self.scores(images, tick=tick).T)

    def module_scores(self, class_index: int, images: ImageSet) -> Float[Tensor, " sample"]:
        """Return one module's scores of all images, on the CPU."""
        return module_scores(self.modules[class_index], images.to(self.device)).cpu()

    def logits(self, images: ImageSet) -> Float[Tensor, "sample class"]:
        """Return the whole network's logits for all images, on the CPU."""
        return network_logits(self.graph.network, images.to(self.device)).cpu()

    @property
    def warnings(self) -> list[str]:
        """The splitter's warnings, each with the model's name."""
        return [f"{self.name}: {text}" for text in self.split.result.warnings]

    @property
    def device(self) -> torch.device:
        """Where its networks are."""
        return next(self.graph.network.parameters()).device


def split_base_model(cell: Cell, prepared: Prepared, workspace: Workspace, *, name: str) -> SplitModel:
    """Split a trained base model with a cell's splitter, or load the result from the cache.

    Args:
        cell: Names the splitter and the network.
        prepared: Images and base model.
        workspace: The resources to work with.
        name: The base model's name.

    Raises:
        SplitbenchError: If the splitter fails.
    """
    select = prepared.roles.select
    graph = ChannelGraph.trace(prepared.base.model, select.normalisation(select.images[:2]).to(workspace.device))
    split = cached_split(cell, prepared, graph, workspace)
    modules = extract_modules(graph, split.result, select.class_names, select.normalisation)
    return SplitModel(name, prepared, graph, split, tuple(modules))


def with_class_name(module: Module, name: str) -> Module:
    """Return a module of the same network under another class name."""
    info = module.info
    names = tuple(name if index == info.class_index else other for index, other in enumerate(info.class_names))
    return Module(module.network, module.score, info.model_copy(update={"class_name": name, "class_names": names}))
