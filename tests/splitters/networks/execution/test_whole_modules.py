"""Modules that keep every channel share a forward pass: the logits and gradients are those of each on its own."""

import pytest
import torch
from exactness import images, shaken
from small_nets import BETWEEN, Case
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import make_splitter
from splitters.networks.execution import whole_modules
from splitters.networks.execution.module_chunks import ChunkedNetwork
from splitters.networks.execution.precision import computing_in
from splitters.networks.masked_network import masked_network
from splitters.testing import tiny_task

_BATCH = images(5, 3, 8, 8)
_N_MODULES = 3


@pytest.fixture(autouse=True)
def _any_size_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_modules, "_MANY_OPERATIONS", 1)


def _step(graph: ChannelGraph, gates: Tensor, memory: int | None = None) -> tuple[Tensor, Tensor, list[int]]:
    """Return logits, the gates' gradients, and how many modules each forward pass ran."""
    network, sizes = masked_network(graph), list[int]()
    chunked = ChunkedNetwork(network, memory)
    chunked(_BATCH, torch.ones_like(gates))  # the first step of a search
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[1])))
    leaf = gates.clone().requires_grad_()
    logits = chunked(_BATCH, leaf)
    weights = images(*logits.shape, seed=1)  # each module sends another gradient back
    (logits.logsumexp(0).sum() + (weights * logits).sum()).backward()
    return logits.detach(), leaf.grad, sizes


@pytest.mark.parametrize("case", BETWEEN, ids=lambda case: case.name)
def test_logits_and_gradients_are_those_of_separate_passes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = ChannelGraph.trace(shaken(case.make()).eval(), _BATCH)
    whole = torch.ones(_N_MODULES, graph.layout.n_channels)
    logits, gradients, sizes = _step(graph, whole)
    monkeypatch.setattr(whole_modules, "_MANY_OPERATIONS", 1 << 60)
    expected, expected_gradients, expected_sizes = _step(graph, whole)
    assert (sizes, expected_sizes) == ([1], [_N_MODULES])
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)


def _graph() -> ChannelGraph:
    return ChannelGraph.trace(shaken(BETWEEN[0].make()).eval(), _BATCH)


@pytest.mark.parametrize("gate", [0.0, 0.5])
def test_one_channel_that_is_dropped_or_scaled_ends_it(gate: float) -> None:
    graph = _graph()
    gates = torch.ones(_N_MODULES, graph.layout.n_channels)
    gates[1, 2] = gate
    assert _step(graph, gates)[2] == [_N_MODULES]


def test_a_shared_pass_needs_the_memory_of_one_module() -> None:
    graph = _graph()
    assert _step(graph, torch.ones(_N_MODULES, graph.layout.n_channels), memory=1)[2] == [1]


def test_other_devices_are_not_asked() -> None:
    graph = _graph()
    network, sizes = masked_network(graph).to("meta"), list[int]()  # where no value can be read
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[1])))
    ChunkedNetwork(network)(_BATCH.to("meta"), torch.ones(_N_MODULES, graph.layout.n_channels, device="meta"))
    assert sizes == [_N_MODULES]


def test_activations_are_freed_by_the_backward_pass() -> None:
    graph = _graph()
    logits = ChunkedNetwork(masked_network(graph))(_BATCH, torch.ones(2, graph.layout.n_channels).requires_grad_())
    logits.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second time"):
        logits.sum().backward()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_search_finds_the_same(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"preset": "fast", "rounds": 1, "warmup": "1 steps", "mask_phase": "8 steps", "mask_learning_rate": 0.2}
    with computing_in(precision, "cpu"):
        found = make_splitter("gradsplitter", settings).split(tiny_task())
        monkeypatch.setattr(whole_modules, "_MANY_OPERATIONS", 1 << 60)
        expected = make_splitter("gradsplitter", settings).split(tiny_task())
    assert not expected.masks.bits.all(), "later steps no longer share"
    assert torch.equal(found.masks.bits, expected.masks.bits)
    for name, values in expected.scores.tensors().items():
        torch.testing.assert_close(found.scores.tensors()[name], values, rtol=1e-4, atol=1e-5)
