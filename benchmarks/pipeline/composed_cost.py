"""What a composed model costs: operations, parameters, storage, and the time that one image takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.pipeline.split_model import SplitModel
from splitters.modules.module import Module
from splitters.networks.cost import base_cost, network_cost
from splitters.networks.extraction import extract_network
from splitters.reuse.composed import ComposedModel

_REPEATS = 15
_WARM_UP = 2


@dataclass(frozen=True)
class Pick:
    """A module that takes part in a composed model.

    Args:
        model: The base model that it comes from.
        class_index: Its class there.
    """

    model: SplitModel
    class_index: int

    @property
    def module(self) -> Module:
        """The module itself."""
        return self.model.modules[self.class_index]


def composed_cost(picks: Sequence[Pick], composed: ComposedModel, reference: SplitModel) -> dict[str, Any]:
    """Returns the fields of ``ComposedCostRecord``.

    Operations add up over the modules: a kernel that two modules keep reads other masked inputs in each, so it runs
    twice. It needs to be stored only once, which ``parameters_union`` counts; heads are never shared. Latencies are
    measured on single images, the composed model and the reference in turn, so that other load meets both alike.

    Args:
        picks: The modules.
        composed: The same, composed.
        reference: The base model that they are compared with.
    """
    whole, stored, base = composed.cost(), _stored_parameters(picks), base_cost(reference.graph)
    device = next(reference.graph.network.parameters()).device
    image = torch.zeros(1, *reference.graph.input_shape, device=device)
    composed_seconds, base_seconds = latencies([composed, reference.graph.network], image)
    return {
        "flops_sum": whole.flops,
        "parameters_sum": whole.parameters,
        "parameters_union": stored,
        "latency_seconds": composed_seconds,
        "base_flops": base.flops,
        "base_parameters": base.parameters,
        "base_latency_seconds": base_seconds,
        "flops_retention_sum": whole.flops / base.flops,
        "param_retention_sum": whole.parameters / base.parameters,
        "param_retention_union": stored / base.parameters,
        "latency_ratio": composed_seconds / base_seconds,
    }


def _stored_parameters(picks: Sequence[Pick]) -> int:
    """Returns how many parameters the modules have, those that modules of one base model share counted once."""
    total = 0
    for model in {id(pick.model): pick.model for pick in picks}.values():
        own = [pick for pick in picks if pick.model is model]
        bits = model.split.result.masks.bits[[pick.class_index for pick in own]].any(0)
        total += network_cost(extract_network(model.graph, bits), model.graph.input_shape).parameters
        for pick in own:
            total += _head_parameters(pick.module)
    return total


def _head_parameters(module: Module) -> int:
    return module.cost().parameters - network_cost(module.network, module.info.input_shape).parameters


@torch.no_grad()
def latencies(
    networks: Sequence[Callable[[Tensor], object]],
    image: Float[Tensor, "1 channel height width"],
    *,
    repeats: int = _REPEATS,
) -> list[float]:
    """Return each network's median time in seconds for one image; the networks take turns.

    Args:
        networks: Networks in eval mode, on the image's device, or functions that run one.
        image: One image in the form that all of them take.
        repeats: How many times each is measured, after two passes that are not.
    """
    seconds: list[list[float]] = [[] for _ in networks]
    for turn in range(-_WARM_UP, repeats):
        for place, network in enumerate(networks):
            started = time.perf_counter()
            network(image)
            if image.is_cuda:
                torch.cuda.synchronize(image.device)
            if turn >= 0:
                seconds[place].append(time.perf_counter() - started)
    return [median(own) for own in seconds]
