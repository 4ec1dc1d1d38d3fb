"""Layers whose weights are computed: each becomes a plain layer with its effective weight."""

from collections.abc import Callable
from types import MethodType

import pytest
import torch
from exactness import assert_exact, images, maskable
from small_nets import Between, conv
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from splitters.canonical.layers import plain_kind
from splitters.files.network_description import build_network, check_storable, describe_network

_BATCH = images(2, 3, 8, 8)


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2


def _parametrised(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "bias", _Doubled())
    return parametrize.register_parametrization(layer, "weight", _Doubled())


_REPARAMETRISATIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "older weight norm": torch.nn.utils.weight_norm,
    "older spectral norm": torch.nn.utils.spectral_norm,
    "pruning": lambda layer: prune.random_unstructured(layer, "weight", 0.3),
    "a parametrisation of one's own": _parametrised,
}

_LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Conv2d": lambda: conv(8, 8),
    "reflecting Conv2d": lambda: conv(8, 8, padding_mode="reflect"),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 8, 2, 2),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", _LAYERS)
@pytest.mark.parametrize("name", _REPARAMETRISATIONS)
def test_reparametrised_layers_are_layers(name: str, kind: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        change = _REPARAMETRISATIONS[name]
        net = Between(lambda net, x: net.other(x.relu()), other=change(_LAYERS[kind]()))
        net.fc = change(net.fc)
        net.norm = nn.BatchNorm2d(8)
    net(_BATCH)  # in training mode: older ones cache what they computed, with its history
    graph = assert_exact(net, _BATCH)
    assert maskable(graph) == {"conv": 8, "last": 6, "other": 8}
    rebuilt = build_network(*describe_network(graph.network))
    with torch.no_grad():
        assert torch.equal(rebuilt(_BATCH), graph.network(_BATCH))


def test_the_weight_that_a_hook_will_compute_counts_not_a_stale_one() -> None:
    net = Between(lambda net, x: x, other=nn.Identity())
    with pytest.warns(FutureWarning, match="deprecated"):
        net.conv = torch.nn.utils.weight_norm(net.conv)
    with torch.no_grad():
        net.conv.weight_g.mul_(3)  # as ``load_state_dict`` does
    assert_exact(net, _BATCH)


class _Named(nn.Conv2d):
    """A subclass that computes what its base does."""


class _Standardised(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight * 3, bias)


def test_a_layer_with_a_forward_of_its_own_is_no_plain_layer() -> None:
    replaced = nn.Linear(2, 2)
    replaced.forward = lambda x: x
    assert plain_kind(_Named(3, 8, 3)) is nn.Conv2d
    assert plain_kind(_Standardised(3, 8, 3)) is None
    assert plain_kind(replaced) is None
    assert plain_kind(nn.Conv3d(1, 1, 1)) is None


def test_a_subclass_without_a_forward_of_its_own_is_a_layer() -> None:
    graph = assert_exact(Between(lambda net, x: net.other(x), other=_Named(8, 8, 3, padding_mode="circular")), _BATCH)
    assert maskable(graph) == {"conv": 8, "last": 6, "other": 8}


def test_a_forward_that_was_replaced_on_the_layer_is_traced() -> None:
    net = Between(lambda net, x: net.other(x), other=nn.Conv2d(8, 8, 1))
    net.other.forward = lambda x: x * 2
    graph = assert_exact(net, _BATCH)
    assert maskable(graph) == {"conv": 8, "last": 6}


def test_a_forward_that_was_replaced_on_the_model_is_traced() -> None:
    net = Between(lambda net, x: x)
    net.forward = MethodType(lambda self, x: type(self).forward(self, (x - 0.5) / 0.25), net)
    assert maskable(assert_exact(net, _BATCH)) == {"conv": 8, "last": 6}


class _Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias, self.weight = (
            nn.Parameter(torch.zeros(8, 1, 1)),
            nn.Parameter(torch.linspace(0.5, 1.5, 8)[:, None, None]),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


@pytest.mark.parametrize("layer", [nn.GroupNorm(4, 8), nn.BatchNorm2d(8), nn.LayerNorm([8, 8]), _Gain()])
def test_any_parametrised_layer_is_one_of_its_own_class(layer: nn.Module) -> None:
    net = Between(lambda net, x: net.other(x), other=_parametrised(layer))
    graph = assert_exact(net, _BATCH)
    assert not graph.frozen
    check_storable(graph)
    assert parametrize.is_parametrized(net.other, "weight"), "the model itself stays as it is"
