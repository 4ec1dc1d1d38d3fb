"""Copies of models: wrappers, cached tensors, layers without weights."""

from collections.abc import Callable

import pytest
import torch
from exactness import assert_exact, images, maskable
from small_nets import Between, Whole, conv
from torch import Tensor, nn

from splitters.canonical.model_copy import copy_of_model, unwrapped
from splitters.errors import GraphError
from splitters.graph.channel_graph import ChannelGraph

_BATCH = images(2, 3, 8, 8)


def _net() -> Between:
    return Between(lambda net, x: x.relu())


@pytest.mark.parametrize(
    "wrap",
    [
        torch.compile,
        nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        lambda net: torch.compile(nn.DataParallel(net)),
    ],
)
def test_a_wrapped_model_is_traced_without_its_wrapper(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = _net()
    wrapped = wrap(net)
    assert type(unwrapped(wrapped)) is Between
    graph = ChannelGraph.trace(wrapped, _BATCH)
    assert maskable(graph) == {"conv": 8, "last": 6}
    with torch.no_grad():
        assert torch.allclose(graph.network(_BATCH), net(_BATCH), atol=1e-6)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_parts_keep_the_names_of_what_they_wrap(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = _net()
    net.conv = wrap(nn.Sequential(wrap(net.conv)))
    graph = ChannelGraph.trace(net, _BATCH)
    assert maskable(graph) == {"conv.0": 8, "last": 6}
    assert type(net.conv) is not nn.Sequential


def test_a_model_compiled_in_place_is_traced() -> None:
    net = _net()
    net.compile()
    assert maskable(ChannelGraph.trace(net, _BATCH)) == {"conv": 8, "last": 6}


def test_tensors_that_a_forward_cached_are_copied_without_their_history() -> None:
    def run(net: Whole, x: Tensor) -> Tensor:
        net.seen = net.conv(x)
        net.maps = {"last": [net.seen * 2]}
        return net.fc(net.seen.mean((2, 3)))

    net = Whole(run, conv=conv(3, 8), fc=nn.Linear(8, 4))
    net(_BATCH)
    copied = copy_of_model(net)
    assert net.seen.grad_fn is not None
    assert copied.seen.grad_fn is None
    assert torch.equal(copied.maps["last"][0], net.maps["last"][0])
    assert_exact(net, _BATCH)


def test_a_lazy_layer_without_weights_is_refused_by_name() -> None:
    net = nn.Sequential(conv(3, 8), nn.Sequential(nn.LazyConv2d(5, 3), nn.Flatten(), nn.LazyLinear(4)))
    with pytest.raises(GraphError, match=r"the layer '1\.0' \(LazyConv2d\) has no weights yet; call the model once"):
        ChannelGraph.trace(net, _BATCH)
    net(_BATCH)
    assert_exact(net, _BATCH)


def test_tensors_on_the_meta_device_are_refused_by_name() -> None:
    with pytest.raises(GraphError, match=r"the tensor 'conv\.weight' is on the meta device, .*model\.to_empty"):
        ChannelGraph.trace(_net().to("meta"), _BATCH)


def test_what_cannot_be_copied_is_refused_with_the_cause() -> None:
    net = _net()
    net.stream = (number for number in range(3))
    with pytest.raises(GraphError, match="Between cannot be copied: TypeError: cannot pickle 'generator' object"):
        ChannelGraph.trace(net, _BATCH)
