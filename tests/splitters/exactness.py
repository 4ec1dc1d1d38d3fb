"""The invariant that everything rests on, as a check: a masked forward is the extracted module's forward."""

import torch
from torch import Tensor, nn

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT
from splitters.networks.extraction import extract_network
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks, repair

TOLERANCE = 1e-5


def shaken(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give every batch norm random statistics, and every bias, slope and what starts at zero a random value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.weight is not None:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
            if isinstance(getattr(module, "bias", None), Tensor):
                module.bias.normal_(0, 0.3, generator=generator)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.5, 0.9, generator=generator)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
    return model


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_bits(graph: ChannelGraph, n_modules: int, *, keep: float, seed: int = 0) -> Tensor:
    """Return random masks that keep about this share of the channels, and one where a layer would lose all."""
    generator = torch.Generator().manual_seed(seed)
    bits = bits_before_repair(graph, n_modules, keep=keep, generator=generator)
    return repair(graph.layout, bits, torch.rand(bits.shape, generator=generator))


def bits_before_repair(graph: ChannelGraph, n_modules: int, *, keep: float, generator: torch.Generator) -> Tensor:
    """Return random bits, of which a module may lose a whole layer."""
    return torch.rand(n_modules, graph.layout.n_channels, generator=generator) < keep


def worst_difference(graph: ChannelGraph, batch: Tensor, bits: Tensor, scales: Tensor | None = None) -> float:
    """Return how far masked and extracted modules lie apart, relative to the output's scale."""
    masks = KernelMasks(graph.layout, bits, scales)
    with torch.no_grad():
        masked = masked_network(graph)(batch, masks.gates.to(batch.dtype))
        extracted = torch.stack(
            [extract_network(graph, row, masks.scales_of(module))(batch) for module, row in enumerate(bits)]
        )
    return float((masked - extracted).abs().max() / extracted.abs().max())


def assert_exact(
    model: nn.Module, batch: Tensor, *, n_modules: int = 3, keeps: tuple[float, ...] = (0.6, 0.1)
) -> ChannelGraph:
    """Check the invariant on random masks, many and few kept, with and without scales, and that a full mask gives the
    model's own logits.
    """
    graph = ChannelGraph.trace(model, batch)
    for seed, keep in enumerate(keeps):
        bits = random_bits(graph, n_modules, keep=keep, seed=seed)
        assert worst_difference(graph, batch, bits) < TOLERANCE
    assert worst_difference(graph, batch, bits, random_scales(bits)) < TOLERANCE
    with torch.no_grad():
        expected = model.eval()(batch)
        full = masked_network(graph)(batch, torch.ones(2, graph.layout.n_channels))
    assert float((full - expected).abs().max()) < TOLERANCE * float(expected.abs().max())
    return graph


def random_scales(bits: Tensor, *, seed: int = 0) -> Tensor:
    """Return random factors between -0.5 and 2 for the channels of masks."""
    return torch.rand(bits.shape, generator=torch.Generator().manual_seed(seed)) * 2.5 - 0.5


def maskable(graph: ChannelGraph) -> dict[str, int]:
    """Return how many kernels of each convolution a module may drop."""
    return {layer.name: sum(channel != ALWAYS_KEPT for channel in layer.channels) for layer in graph.layout.layers}


def tied(graph: ChannelGraph) -> set[frozenset[str]]:
    """Return the names of the convolutions that make each channel group."""
    names = [layer.name for layer in graph.layout.layers]
    return {frozenset(names[number] for number in group.layers) for group in graph.layout.groups}
