"""Large linear layers are computed by oneDNN where that is faster, with the numbers and gradients of torch's own."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import linear

from splitters.canonical import layers
from splitters.canonical.layers import linear_of, plain_kind

_WIDE = 1024

needs_onednn = pytest.mark.skipif(layers._linear is None, reason="torch without oneDNN")


def _tensors(rows: int = 24, *, bias: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((rows, _WIDE), (_WIDE + 3, _WIDE)))
    return x, weight, torch.randn(_WIDE + 3, generator=generator) if bias else None


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_torch(bias: bool) -> None:
    x, weight, shift = _tensors(bias=bias)
    assert layers._saves_time(x, weight)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, plain = layers._frozen_linear(found, weight, shift), linear(expected, weight, shift)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-3)
    gradient = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    ours.backward(gradient)
    plain.backward(gradient)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-3)


@needs_onednn
def test_layers_of_canonical_graphs_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = _tensors()
    layer = deepcopy(linear_of(weight, bias))
    monkeypatch.setattr(layers, "_linear", lambda *arguments: torch.zeros(1))
    assert layer(x).tolist() == [0.0]


@needs_onednn
@pytest.mark.parametrize("reason", ["small", "few rows", "bfloat16", "autocast", "trainable", "more axes"])
def test_torch_computes_what_would_gain_nothing_or_is_not_float32(reason: str) -> None:
    x, weight, _ = _tensors(rows=4 if reason == "few rows" else 24)
    weight = weight[:8] if reason == "small" else weight.requires_grad_(reason == "trainable")
    if reason == "bfloat16":
        x, weight = x.bfloat16(), weight.bfloat16()
    x = x.unsqueeze(0) if reason == "more axes" else x
    with torch.autocast("cpu", torch.bfloat16, enabled=reason == "autocast"):
        assert not layers._saves_time(x, weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_such_layers_are_traced_and_exported_as_linear_layers() -> None:
    x, weight, bias = _tensors()
    network = nn.Sequential(linear_of(weight, bias), nn.ReLU())
    assert plain_kind(network[0]) is nn.Linear
    exported = torch.export.export(network, (x,)).module()
    traced = torch.jit.trace(network, x, check_trace=False)
    symbolic = fx.symbolic_trace(network)
    for other in (exported, traced, symbolic):
        torch.testing.assert_close(other(x), network(x), rtol=1e-5, atol=1e-3)
    assert "mkldnn" not in f"{exported.graph}{traced.inlined_graph}{symbolic.graph}"
