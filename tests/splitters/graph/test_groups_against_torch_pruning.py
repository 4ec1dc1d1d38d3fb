"""Channel groups against those that Torch-Pruning finds through autograd."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from exactness import images
from torch import nn
from torchvision.models.resnet import BasicBlock

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT

torch_pruning = pytest.importorskip("torch_pruning")


def _found(model: nn.Module, batch: torch.Tensor) -> set[frozenset[tuple[str, int]]]:
    """Return the groups of tied kernels, as (convolution, kernel)."""
    kernels: dict[int, set[tuple[str, int]]] = {}
    for layer in ChannelGraph.trace(model, batch).layout.layers:
        for kernel, channel in enumerate(layer.channels):
            assert channel != ALWAYS_KEPT
            kernels.setdefault(channel, set()).add((layer.name, kernel))
    return {frozenset(members) for members in kernels.values()}


def _expected(model: nn.Module, batch: torch.Tensor) -> set[frozenset[tuple[str, int]]]:
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=batch)
    names = {module: name for name, module in model.named_modules()}
    found = set()
    for conv in (module for module in model.modules() if isinstance(module, nn.Conv2d)):
        for kernel in range(conv.out_channels):
            group = graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, idxs=[kernel])
            found.add(
                frozenset(
                    (names[item.dep.target.module], index)
                    for item in group
                    if graph.is_out_channel_pruning_fn(item.dep.handler)
                    and isinstance(item.dep.target.module, nn.Conv2d)
                    for index in item.idxs
                )
            )
    return found


def _short_resnet() -> nn.Module:
    return torchvision.models.ResNet(BasicBlock, [2, 1, 2, 1], num_classes=10)


def _narrow_vgg() -> nn.Module:
    layers = torchvision.models.vgg.make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64 * 4, 10))


def _narrow_densenet() -> nn.Module:
    return torchvision.models.DenseNet(growth_rate=4, block_config=(2, 3, 2), num_init_features=8, num_classes=10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [_short_resnet, _narrow_vgg, _narrow_densenet])
def test_groups_match_torch_pruning(make: Callable[[], nn.Module]) -> None:
    model, batch = make().eval(), images(1, 3, 32, 32)
    assert _found(model, batch) == _expected(model, batch)
