"""Attributes that a forward sets: caches, counters, features kept for a look."""

from collections.abc import Callable

import pytest
import torch
from exactness import assert_exact, images, maskable
from small_nets import Between
from torch import Tensor

_BATCH = images(2, 3, 8, 8)


def _grid(x: Tensor) -> Tensor:
    return torch.linspace(0, 1, x.shape[-1]).expand(1, 1, x.shape[-2], -1)


def _cached(net: Between, x: Tensor) -> Tensor:
    if net.grid is None or net.grid.shape[-1] != x.shape[-1]:
        net.grid = _grid(x)
    return x + net.grid


def _cached_for_a_batch(net: Between, x: Tensor) -> Tensor:
    if net.grid is None or net.grid.shape != x.shape:
        net.grid = _grid(x).expand(x.shape[0], -1, -1, -1)
    return x + net.grid


def _first_cached(net: Between, x: Tensor) -> Tensor:
    if not hasattr(net, "first_grid"):
        net.first_grid = torch.linspace(0, 1, x.shape[-1])
    return x + net.first_grid


def _cached_by_size(net: Between, x: Tensor) -> Tensor:
    size = x.shape[2:]
    if size not in net.grids:
        net.grids[size] = _grid(x)
    return x + net.grids[size]


def _counted(net: Between, x: Tensor) -> Tensor:
    net.calls += 1
    return x


def _counted_anew(net: Between, x: Tensor) -> Tensor:
    net.calls = net.calls + 1
    return x


def _kept(net: Between, x: Tensor) -> Tensor:
    net.seen, net.n_values = x, x.numel()
    net.features.append(x)
    return x


@pytest.mark.parametrize(
    "show",
    [_cached, _cached_for_a_batch, _first_cached, _cached_by_size, _counted, _counted_anew, _kept],
    ids=lambda show: show.__name__,
)
@pytest.mark.parametrize("was_called", [False, True])
def test_what_a_forward_stores_changes_no_trace(show: Callable[..., Tensor], was_called: bool) -> None:
    net = Between(show, calls=torch.zeros((), dtype=torch.long))
    net.grid, net.grids, net.features = None, {}, []
    if was_called:
        net(images(3, 3, 8, 8))
    assert maskable(assert_exact(net, _BATCH)) == {"conv": 8, "last": 6}
