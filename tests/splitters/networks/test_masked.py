"""The masked network against an oracle without graphs, its gradients and its efficiency."""

import copy

import torch
from exactness import TOLERANCE, images, random_bits, shaken
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import Between, conv
from torch import Tensor, nn

from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.masked_convolution import apply_first_masks
from splitters.networks.masked_network import masked_network

_BATCH = images(3, 3, 16, 16)


def _plain() -> nn.Sequential:
    """Three convolutions in a row, with norms on either side of activations that are not 0 at 0."""
    return shaken(
        nn.Sequential(
            conv(3, 6), nn.BatchNorm2d(6), nn.Sigmoid(), nn.MaxPool2d(2),
            conv(6, 7), nn.Softplus(), nn.BatchNorm2d(7), nn.AvgPool2d(2),
            conv(7, 5), nn.ELU(), nn.Flatten(), nn.Dropout(), nn.Linear(80, 4),
        )
    ).eval()  # fmt: skip


_CONSUMERS = {"4": 6, "8": 7, "12": 5}
"""What reads the three convolutions' kernels, and how many there are."""

_MODEL = _plain()
_GRAPH = ChannelGraph.trace(_MODEL, _BATCH)


def _hooked(model: nn.Sequential, bits: Tensor, batch: Tensor) -> Tensor:
    """Run the original model with the inputs of consumers multiplied by masks, through hooks."""
    handles = []
    for (name, kernels), mask in zip(_CONSUMERS.items(), bits.split(list(_CONSUMERS.values())), strict=True):
        spread = (
            mask.view(1, kernels, 1, 1) if name != "12" else mask.repeat_interleave(80 // kernels).view(1, -1)
        ).float()
        consumer = model.get_submodule(name)
        handles.append(consumer.register_forward_pre_hook(lambda module, args, spread=spread: (args[0] * spread,)))
    try:
        with torch.no_grad():
            return model(batch)
    finally:
        for handle in handles:
            handle.remove()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), keep=st.floats(0, 1), n_modules=st.integers(1, 4))
def test_masked_forward_is_the_model_with_masked_inputs(seed: int, keep: float, n_modules: int) -> None:
    bits = random_bits(_GRAPH, n_modules, keep=keep, seed=seed)
    with torch.no_grad():
        found = masked_network(_GRAPH)(_BATCH, bits.float())
    expected = torch.stack([_hooked(_MODEL, row, _BATCH) for row in bits])
    assert found.shape == (n_modules, 3, 4)
    assert float((found - expected).abs().max()) < TOLERANCE * float(expected.abs().max())


def test_gradients_of_the_bits_match_finite_differences() -> None:
    model = _plain().double()
    graph = ChannelGraph.trace(model, _BATCH.double())
    network = masked_network(graph)
    generator = torch.Generator().manual_seed(0)
    bits = torch.rand(2, graph.layout.n_channels, generator=generator, dtype=torch.double).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: network(_BATCH[:1].double(), given), (bits,))


def test_layers_before_the_first_mask_run_once() -> None:
    network = masked_network(_GRAPH)
    batches: dict[str, int] = {}
    for name in ("0", *_CONSUMERS):
        layer = next(child for key, child in network.named_children() if key.removeprefix("masked").lstrip("_") == name)
        layer.register_forward_hook(lambda module, args, output, name=name: batches.update({name: len(output)}))
    with torch.no_grad():
        network(_BATCH, torch.ones(5, _GRAPH.layout.n_channels))
    assert batches == {"0": 3, "4": 15, "8": 15, "12": 15}


def test_all_readers_of_a_tensor_share_one_mask() -> None:
    graph = ChannelGraph.trace(Between(lambda net, x: net.one(x) + net.two(x), one=conv(8, 8), two=conv(8, 8)), _BATCH)
    network = masked_network(graph)
    assert sum(node.target is apply_first_masks for node in network.graph.nodes) == 1


def test_masked_network_shares_the_graphs_weights() -> None:
    shared = {parameter.data_ptr() for parameter in _GRAPH.network.parameters()}
    assert {parameter.data_ptr() for parameter in masked_network(_GRAPH).parameters()} == shared


def test_tensors_stay_channels_last() -> None:
    network = masked_network(_GRAPH)
    strides: list[bool] = []
    network.get_submodule("masked__8").register_forward_pre_hook(
        lambda module, args: strides.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    with torch.no_grad():
        network(_BATCH.to(memory_format=torch.channels_last), torch.ones(2, _GRAPH.layout.n_channels))
    assert strides == [True]


def test_masked_network_prints_and_copies_like_any_other() -> None:
    network = masked_network(_GRAPH)
    assert "masked__4" in network.code
    bits = random_bits(_GRAPH, 2, keep=0.5).float()
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network)(_BATCH, bits), network(_BATCH, bits))
