"""Costs of composed models: operations, storage, and time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.pipeline.composed_cost import ModuleRef, composed_cost, latencies
from benchmarks.pipeline.split_model import SplitModel
from splitters.data import IMAGENET
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import extract_modules
from splitters.modules.score_kinds import LogitScores
from splitters.networks.cost import base_cost
from splitters.networks.execution.precision import computing_in
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import compose

NAMES = ("a", "b")
SIDE, KERNELS = 4, 6


def split_model(kept: list[list[int]], *, scaled: bool = False) -> SplitModel:
    """Return a net of one convolution whose two modules keep the given kernels."""
    layers = (nn.Conv2d(3, KERNELS, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    graph = ChannelGraph.trace(nn.Sequential(*layers, nn.Linear(KERNELS, 2)).eval(), torch.zeros(1, 3, SIDE, SIDE))
    bits = torch.zeros(2, graph.layout.n_channels, dtype=torch.bool)
    for index, channels in enumerate(kept):
        bits[index, channels] = True
    result = SplitResult(KernelMasks(graph.layout, bits, torch.rand(bits.shape) if scaled else None), LogitScores())
    modules = tuple(extract_modules(graph, result, NAMES, IMAGENET))
    return SplitModel("net", None, graph, SimpleNamespace(result=result), modules)  # type: ignore[arg-type]


def flops_of(kernels: int) -> int:
    return 2 * kernels * 3 * 9 * SIDE**2 + 2 * kernels * 2


def cost_of(modules: list[ModuleRef], reference: SplitModel) -> dict[str, float]:
    return composed_cost(modules, compose([module.module for module in modules]), reference)


def parameters_of(kernels: int) -> int:
    return kernels * 3 * 9 + kernels * 2 + 2


@pytest.mark.parametrize(("kept", "union"), [([[0, 1], [1, 2, 3]], 4), ([[0], [5]], 2), ([[0, 1, 2], [0, 1, 2]], 3)])
def test_a_shared_kernel_is_stored_once_and_runs_in_every_module(kept: list[list[int]], union: int) -> None:
    model = split_model(kept)
    cost = cost_of([ModuleRef(model, 0), ModuleRef(model, 1)], model)
    assert cost["flops_sum"] == sum(flops_of(len(kernels)) for kernels in kept)
    assert cost["parameters_union"] == parameters_of(union)
    assert cost["base_flops"] == flops_of(KERNELS) == base_cost(model.graph).flops
    assert cost["param_retention_union"] == pytest.approx(parameters_of(union) / parameters_of(KERNELS))
    assert not [name for name in cost if "flops" in name and "union" in name]


def test_scales_of_shared_kernels_are_stored_for_each_module() -> None:
    model = split_model([[0, 1], [1, 2, 3]], scaled=True)
    cost = cost_of([ModuleRef(model, 0), ModuleRef(model, 1)], model)
    assert cost["parameters_union"] == parameters_of(4) + 2 + 3
    assert cost["flops_sum"] == flops_of(2) + flops_of(3)


def test_kernels_of_different_base_models_are_never_the_same() -> None:
    one, other = split_model([[0, 1], [2]]), split_model([[0, 1], [0, 1, 2]])
    cost = cost_of([ModuleRef(one, 0), ModuleRef(other, 1)], one)
    assert cost["parameters_union"] == cost["parameters_sum"] == parameters_of(2) + parameters_of(3)


class _Timed(nn.Module):
    """A network whose forward passes take the given seconds of a clock."""

    def __init__(self, clock: Any, seconds: list[float]) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = iter(seconds)

    def forward(self, image: Tensor) -> Tensor:
        self.clock.advance(next(self.seconds))
        return image


def test_latencies_are_those_of_the_current_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model = split_model([[0, 1], [2]])
    modules = [ModuleRef(model, 0), ModuleRef(model, 1)]
    composed, types = compose(model.modules), list[torch.dtype]()

    def run_both(networks: list[Any], image: Tensor) -> list[float]:
        for network in networks:
            network(image)
        return [1.0] * len(networks)

    monkeypatch.setattr("benchmarks.pipeline.composed_cost.latencies", run_both)
    composed_cost(modules, composed, model)
    for network in (model.graph.network, *(module.network for module in model.modules)):
        next(network.children()).register_forward_hook(lambda *call: types.append(call[2].dtype))
    with computing_in("bf16", "cpu"):
        composed_cost(modules, composed, model)
    assert types == [torch.bfloat16] * 3


def test_latencies_are_medians_after_a_warm_up(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pipeline.composed_cost.time", clock)
    networks = [_Timed(clock, [8.0, 8.0, 2.0, 8.0, 2.0]), _Timed(clock, [8.0, 8.0, 1.0, 3.0, 2.0])]
    assert latencies(networks, torch.zeros(1, 3, 4, 4), repeats=3) == [2.0, 2.0]
