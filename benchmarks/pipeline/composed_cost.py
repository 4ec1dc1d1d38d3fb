"""The cost of a composed model: operations, parameters, storage, and latency of one image."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.pipeline.split_model import SplitModel
from splitters.modules.module import Module
from splitters.networks.cost import Cost, count_parameters
from splitters.networks.execution.precision import run_network
from splitters.networks.extraction import extract_network
from splitters.reuse.composed import ComposedModel

_REPEATS = 15
_WARM_UP = 2


@dataclass(frozen=True)
class ModuleRef:
    """A reference to one module of a split base model.

    Args:
        model: The base model.
        class_index: The module's class.
    """

    model: SplitModel
    class_index: int

    @property
    def module(self) -> Module:
        """The module."""
        return self.model.modules[self.class_index]

    @property
    def cost(self) -> Cost:
        """The module's cost."""
        return self.model.module_cost(self.class_index)


def composed_cost(modules: Sequence[ModuleRef], composed: ComposedModel, reference: SplitModel) -> dict[str, Any]:
    """Return the fields of ``ComposedCostRecord``.

    Operations add up over the modules: a kernel that two modules keep runs twice, since its masked inputs differ. It is
    stored only once, which ``parameters_union`` counts; heads are never shared. Latencies are measured on single
    images, in the current precision, alternating between the composed model and the reference, so that other load
    affects both alike.

    Args:
        modules: The modules.
        composed: The model composed of them.
        reference: The base model to compare with.
    """
    total = sum((module.cost for module in modules), Cost(0, 0))
    stored, base = _stored_parameters(modules), reference.base_cost
    device = next(reference.graph.network.parameters()).device
    image = torch.zeros(1, *reference.graph.input_shape, device=device)
    networks = [partial(run_network, network) for network in (composed, reference.graph.network)]
    composed_seconds, base_seconds = latencies(networks, image)
    return {
        "flops_sum": total.flops,
        "parameters_sum": total.parameters,
        "parameters_union": stored,
        "latency_seconds": composed_seconds,
        "base_flops": base.flops,
        "base_parameters": base.parameters,
        "base_latency_seconds": base_seconds,
        "flops_retention_sum": total.flops / base.flops,
        "param_retention_sum": total.parameters / base.parameters,
        "param_retention_union": stored / base.parameters,
        "latency_ratio": composed_seconds / base_seconds,
    }


def _stored_parameters(modules: Sequence[ModuleRef]) -> int:
    """Return the number of parameters, counting those that modules of one base model share once.

    Modules with scales share the kernels all the same; each stores its own scales beside them.
    """
    by_model: dict[SplitModel, list[int]] = {}
    for module in modules:
        by_model.setdefault(module.model, []).append(module.class_index)
    total = sum(count_parameters(module.module.score) for module in modules)
    for model, classes in by_model.items():
        masks = model.split.result.masks[classes]
        total += count_parameters(extract_network(model.graph, masks.union.bits[0]))
        total += int(masks.bits.sum()) if masks.scales is not None else 0
    return total


@torch.no_grad()
def latencies(
    networks: Sequence[Callable[[Tensor], object]],
    image: Float[Tensor, "1 channel height width"],
    *,
    repeats: int = _REPEATS,
) -> list[float]:
    """Return each network's median time for one image, in seconds. The networks take turns.

    Args:
        networks: Networks in eval mode, on the image's device, or functions that run one.
        image: One image in the form that all of them take.
        repeats: Measured passes of each network, after two warm-up passes.
    """
    seconds: list[list[float]] = [[] for _ in networks]
    for turn in range(-_WARM_UP, repeats):
        for index, network in enumerate(networks):
            started = time.perf_counter()
            network(image)
            if image.is_cuda:
                torch.cuda.synchronize(image.device)
            if turn >= 0:
                seconds[index].append(time.perf_counter() - started)
    return [median(times) for times in seconds]
