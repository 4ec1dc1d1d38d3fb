"""Compiled networks: those of float32 within rounding, and networks as they are where compilation fails."""

import logging
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from splitters.networks.execution import whole_modules
from splitters.networks.execution.compilation import compiled, compiling, is_compiling
from splitters.networks.execution.module_chunks import ChunkedNetwork
from splitters.networks.masked_network import masked_network
from splitters.testing import TinyNet, tiny_task


def _refuse(network: object, *, message: str, **_: object) -> Callable[..., Tensor]:
    def run(*inputs: Tensor) -> Tensor:
        raise torch._dynamo.exc.TorchDynamoException(message)

    return run


def test_networks_are_compiled_where_it_is_asked_for() -> None:
    network = TinyNet()
    assert compiled(network) is network
    with compiling(True):
        assert is_compiling()
        assert compiled(network) is not network
    assert not is_compiling()


@pytest.mark.parametrize(
    ("message", "reason"),
    [("no C++ compiler\nand what it said", "no C++ compiler"), ("", "TorchDynamoException")],
)
def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, message: str, reason: str
) -> None:
    monkeypatch.setattr(torch, "compile", partial(_refuse, message=message))
    network, images = TinyNet().eval(), torch.rand(2, 3, 8, 8)
    with compiling(True), caplog.at_level(logging.WARNING):
        run = compiled(network)
        assert torch.equal(run(images), network(images))
        assert torch.equal(run(images), network(images))
    assert [record.message for record in caplog.records] == [
        f"a network could not be compiled and runs as it is: {reason}"
    ]


def test_compiled_networks_never_share_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_modules, "_MANY_OPERATIONS", 1)
    task = tiny_task()
    graph, images = task.trace(), next(task.train.batches(2))
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    sizes: list[int] = []
    for enabled in (False, True):
        network = masked_network(graph)
        network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[1])))
        with compiling(enabled):
            ChunkedNetwork(network)(images, torch.ones(3, graph.layout.n_channels))
    assert sizes == [1, 1, 3], "one module to count operations, one for all, and all of them compiled"


def test_errors_of_the_network_are_its_own() -> None:
    with compiling(True), pytest.raises(RuntimeError, match="channels"):
        compiled(TinyNet().eval())(torch.rand(2, 5, 8, 8))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
def test_compiled_masked_networks_give_the_same_logits_and_gradients() -> None:
    task = tiny_task()
    graph, images = task.trace(), next(task.train.batches(16))
    network = masked_network(graph)
    gates = torch.rand(3, graph.layout.n_channels, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with compiling(True):
        run = compiled(network)
    results = []
    for function in (network, run):
        logits = function(images, gates)
        results.append((logits.detach(), torch.autograd.grad(logits.square().mean(), gates)[0]))
    assert run._run is not network, "compilation failed"
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
