"""The channel graph as a whole: layers, explanations, invariances and refused models."""

import operator
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exactness import assert_exact, images, maskable, random_bits, shaken, worst_difference
from small_nets import Between, Whole, conv
from torch import Tensor, fx, nn

from splitters.errors import GraphError
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT

_BATCH = images(2, 3, 8, 8)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 1},
        {"kernel_size": (1, 5), "padding": (0, 2)},
        {"kernel_size": 3, "stride": 2, "bias": False},
        {"kernel_size": 3, "stride": (1, 2), "dilation": (2, 1), "padding": 2},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("norm", [True, False])
def test_convolutions_of_every_geometry(settings: dict[str, object], norm: bool) -> None:
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 7, **settings)]
    layers += [nn.BatchNorm2d(7)] if norm else []
    layers += [nn.Sigmoid(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(28, 4)]
    graph = assert_exact(shaken(nn.Sequential(*layers)), _BATCH)
    assert maskable(graph) == {"0": 5, "2": 7}


def test_a_convolution_is_found_by_its_name_in_the_model() -> None:
    block = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1))
    model = shaken(nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    graph = ChannelGraph.trace(model, _BATCH)
    first, second = (graph.convolution(layer) for layer in graph.layout.layers)
    norm = block[1]
    folded = block[0].weight * (norm.weight / torch.sqrt(norm.running_var + norm.eps))[:, None, None, None]
    assert [layer.name for layer in graph.layout.layers] == ["0.0", "0.3"]
    assert torch.allclose(first.weight, folded, atol=1e-6)
    assert torch.equal(second.weight, block[3].weight)


def test_functional_layers_are_layers() -> None:
    def run(net: Whole, x: Tensor) -> Tensor:
        x = F.conv2d(x, net.first, stride=2, padding=1)
        x = F.batch_norm(x, net.mean, net.variance, None, None, False, 0.1, 1e-3)
        x = F.relu(F.conv2d(input=x, weight=net.second, bias=net.bias, groups=5))
        return F.linear(x.flatten(1), net.matrix, bias=None)

    generator = torch.Generator().manual_seed(0)
    shapes = {"first": (5, 3, 3, 3), "second": (5, 1, 1, 1), "bias": (5,), "matrix": (4, 80)}
    weights = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    model = Whole(run, mean=torch.linspace(-1, 1, 5), variance=torch.linspace(0.5, 1, 5), **weights)
    state = torch.get_rng_state()
    graph = assert_exact(model, _BATCH)
    assert torch.equal(torch.get_rng_state(), state), "tracing drew from the global generator"
    assert maskable(graph) == {"first": 5, "second": 5}
    assert graph.layout.n_channels == 5


def test_batch_size_read_at_the_start_and_used_at_the_end() -> None:
    def run(net: Whole, x: Tensor) -> Tensor:
        batch = x.size(0)
        return net.fc(F.relu(net.conv(x)).mean((2, 3)).view(batch, -1))

    graph = assert_exact(Whole(run, conv=conv(3, 8), fc=nn.Linear(8, 4)), _BATCH)
    assert maskable(graph) == {"conv": 8}


def test_a_stem_without_masks_is_shared_by_later_layers() -> None:
    def run(net: Whole, x: Tensor) -> Tensor:
        half = F.avg_pool2d(x, 2)
        return net.fc(torch.cat([net.conv(half), half, F.interpolate(x, size=half.shape[2:])], 1).mean((2, 3)))

    graph = assert_exact(Whole(run, conv=conv(3, 8), fc=nn.Linear(14, 4)), _BATCH)
    assert maskable(graph) == {"conv": 8}


def test_buffers_whose_flattened_names_are_equal_stay_apart() -> None:
    inner = Whole(lambda net, x: x * net.scale, scale=torch.tensor(2.0))
    model = Whole(
        lambda net, x: net.fc((net.inner(net.conv(x)) + net.inner_scale).mean((2, 3))),
        inner=inner,
        inner_scale=torch.tensor(5.0),
        conv=conv(3, 8),
        fc=nn.Linear(8, 4),
    )
    assert_exact(model, _BATCH)


def test_double_precision_stays() -> None:
    model = shaken(Between(lambda net, x: net.norm(F.relu(x)), norm=nn.BatchNorm2d(8))).double()
    batch = _BATCH.double()
    graph = ChannelGraph.trace(model, batch)
    assert worst_difference(graph, batch, random_bits(graph, 2, keep=0.5)) < 1e-12


def test_training_mode_gradients_and_example_do_not_matter() -> None:
    model = shaken(Between(lambda net, x: net.drop(net.norm(x)), norm=nn.BatchNorm2d(8), drop=nn.Dropout(0.9)))
    expected = ChannelGraph.trace(model.eval(), _BATCH)
    model.train().requires_grad_(False)
    model.norm.eval()
    found = ChannelGraph.trace(model, images(1, 3, 8, 8, seed=5))
    assert found.layout == expected.layout
    assert [module.training for module in model.children()] == [True, True, True, False, True]
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(tensor, found.network.state_dict()[name])


def test_tracing_leaves_the_model_unchanged() -> None:
    model = Between(lambda net, x: net.norm(F.relu(x, inplace=True)), norm=nn.BatchNorm2d(8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graph = ChannelGraph.trace(model, _BATCH)
    graph.network.conv.weight.zero_()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_explain_counts_kernels_and_names_nodes() -> None:
    graph = ChannelGraph.trace(Between(lambda net, x: torch.frac(x)), _BATCH)
    (finding,) = graph.frozen
    assert (finding.node, finding.operation) == ("frac", "frac")
    assert finding.layers == (("conv", 8),)
    assert graph.explain().splitlines() == [
        "6 of 14 kernels in 2 convolutions can be dropped, as 6 channels in 1 groups.",
        "frac (frac): an unknown operation; always kept: 8 of conv",
    ]


def test_layers_come_in_the_order_in_which_they_run() -> None:
    model = Whole(
        lambda net, x: net.fc(net.early(net.late(x)).mean((2, 3))),
        early=conv(4, 5), late=conv(3, 4), fc=nn.Linear(5, 2),
    )  # fmt: skip
    graph = ChannelGraph.trace(model, _BATCH)
    assert [(layer.name, layer.kernels) for layer in graph.layout.layers] == [("late", 4), ("early", 5)]
    assert torch.equal(graph.layout.kernel_channels, torch.arange(9))
    assert [list(group.channels) for group in graph.layout.groups] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]


def test_part_of_a_layer_can_freeze() -> None:
    graph = assert_exact(Between(lambda net, x: torch.cat([x[:, :3].frac(), x[:, 3:]], 1)), _BATCH)
    assert graph.layout.layers[0].channels == (ALWAYS_KEPT,) * 3 + tuple(range(5))


def test_no_tensor_becomes_empty() -> None:
    def show(net: Between, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return torch.cat([F.max_pool2d(left, 2), F.avg_pool2d(right, 2)], 1)

    graph = assert_exact(Between(show), _BATCH, keeps=(0.0,))
    assert {(0, 1, 2, 3), (4, 5, 6, 7)} <= set(graph.layout.required)


@fx.wrap
def relu(x: Tensor) -> Tensor:
    """A user's function that is not torch's, whatever its name."""
    return x.flip(1)


def test_a_users_function_is_not_torchs_of_the_same_name() -> None:
    graph = ChannelGraph.trace(Between(lambda net, x: relu(x)), _BATCH)
    assert graph.frozen[0].reason == "an unknown operation"


def _with_hook() -> nn.Module:
    model = Between(lambda net, x: x)
    model.conv.register_forward_hook(lambda module, args, output: output * 2)
    return model


def _keeps_features_by_a_hook() -> nn.Module:
    seen = {}
    model = Between(lambda net, x: x + net.seen["conv"])
    model.seen = seen
    model.conv.register_forward_hook(lambda module, args, output: seen.update(conv=output))
    return model


class _LazyHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = conv(3, 4), None

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x).flatten(1)
        self.fc = self.fc or nn.Linear(maps.shape[1], 4)
        return self.fc(maps)


class _Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


class _TwoArguments(nn.Module):
    def forward(self, images: Tensor, other: Tensor) -> Tensor:
        return images + other


def _overwrites_a_view(net: Whole, x: Tensor) -> Tensor:
    maps = net.conv(x)
    maps[:, :2].relu_()
    return net.fc(maps.mean((2, 3)))


def _limits_a_view(net: Whole, x: Tensor) -> Tensor:
    maps = net.conv(x)
    maps[:, :2].clamp_(max=6)
    return net.fc(maps.mean((2, 3)))


def _updates_a_statistic(net: Whole, x: Tensor) -> Tensor:
    maps = net.conv(x)
    net.mean.mul_(0.9).add_(0.1 * maps.mean((0, 2, 3)))
    return net.fc((maps - net.mean.view(-1, 1, 1)).mean((2, 3)))


def _keeps_a_mean(net: Whole, x: Tensor) -> Tensor:
    maps = net.conv(x)
    net.mean.copy_(maps.mean((0, 2, 3)))
    return net.fc((maps - net.mean.view(-1, 1, 1)).mean((2, 3)))


def _counts_its_calls(net: Whole, x: Tensor) -> Tensor:
    net.mean = net.mean + 1
    return net.fc(net.conv(x).mean((2, 3)) / net.mean)


def _draws_by_numpy(net: Whole, x: Tensor) -> Tensor:
    return net.fc(net.conv(x).mean((2, 3)) * np.random.default_rng().random())


def _overwrites_all_by_a_view(net: Whole, x: Tensor) -> Tensor:
    maps = net.conv(x)
    maps.flatten(1).relu_()
    return net.fc(maps.mean((2, 3)))


def _under_autocast(net: Whole, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.fc(net.conv(x).mean((2, 3)))


def _pooled(run: Callable[[Whole, Tensor], object]) -> nn.Module:
    return Whole(run, conv=conv(3, 4), fc=nn.Linear(4, 4), mean=torch.zeros(4))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_Branching(), "its forward branches on values of tensors (node 'gt')"),
        (_TwoArguments(), "does not take images"),
        (_pooled(lambda net, x: (net.conv(x), x)), "must return one tensor of logits"),
        (_pooled(lambda net, x: {"logits": net.conv(x)}), "must return one tensor of logits"),
        (_pooled(lambda net, x: net.conv(x)), "must return [batch, class] logits"),
        (_pooled(lambda net, x: net.conv(x).mean((2, 3)) - net.conv(x).mean((0, 2, 3))), "mixes the images of a batch"),
        (_pooled(_keeps_a_mean), "mixes the images of a batch; each image's logits must depend on that image alone: "
         "its forward changes 'mean' in eval mode; change buffers only if self.training."),
        (nn.Sequential(conv(3, 4), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(256, 4)),
         "that image alone: the layer '1' normalises by the batch, as it was made with track_running_stats=False."),
        (_pooled(lambda net, x: net.conv(x).mean((2, 3)).flip(0)), "mixes the images of a batch"),
        (_pooled(lambda net, x: net.fc(net.conv(x).mean((2, 3), True).squeeze())), "squeeze() without an axis"),
        (_pooled(lambda net, x: net.conv(x).view(2, 4, -1).mean(-1)), "for one image the model returns"),
        (_pooled(lambda net, x: net.fc(net.conv(x).view(2, 4, 8, 8).mean((2, 3)))), "does not take an image alone"),
        (nn.Sequential(conv(5, 4), nn.Flatten()), "does not take images of shape [2, 3, 8, 8]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "has no convolution"),
        (_pooled(lambda net, x: net.fc((net.conv(x) + torch.randn(4, 1, 1)).mean((2, 3)))), "draws random numbers"),
        (_pooled(_draws_by_numpy), "draws random numbers"),
        (_pooled(_updates_a_statistic), "changes 'mean' in eval mode; change buffers only if self.training."),
        (_pooled(_counts_its_calls), "changes 'mean' in eval mode; change buffers only if self.training."),
        (_LazyHead(), "its first forward makes 'fc.weight', whose values are random; call the model once"),
        (_keeps_features_by_a_hook(), "(or its hooks write to the model itself, not to its copy): KeyError: 'conv'"),
        (_pooled(lambda net, x: net.conv(torch.cat([x, x.flip(-1)])).mean((2, 3)).chunk(2)[0]),
         "does not take an image alone, or joins views of all images"),
        (_pooled(_overwrites_a_view), "node 'relu_' (relu_) of Whole writes in place to 'getitem', a view of a tensor"),
        (_pooled(_limits_a_view), "node 'clamp_' (clamp_) of Whole writes in place to 'getitem', a view of a tensor"),
        (_pooled(_overwrites_all_by_a_view), "writes in place to 'flatten', a view of a tensor that is read later"),
        (_pooled(lambda net, x: net.fc(net.conv(x).mean((2, 3)) * float("nan"))), "logits are not finite"),
        (_pooled(_under_autocast), "its forward turns autocast on"),
        (_pooled(lambda net, x: net.fc(net.conv(x).mean((2, 3)))).half(), "the model's weights are torch.float16"),
        (_with_hook(), "the hooks of 'conv' change its values"),
        (_pooled(lambda net, x: F.dropout(net.conv(x), 0.5).mean((2, 3))), "pass training=self.training"),
    ],
)  # fmt: skip
def test_unsupported_models_are_refused_with_the_cause(model: nn.Module, message: str) -> None:
    with pytest.raises(GraphError) as error, torch.random.fork_rng(devices=[]):
        ChannelGraph.trace(model, _BATCH)
    assert message in str(error.value)


def test_a_callers_autocast_does_not_reach_tracing() -> None:
    model = Between(lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8)).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        graph = ChannelGraph.trace(model, _BATCH)
    torch.testing.assert_close(graph.network(_BATCH), model(_BATCH))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_torchscript_and_exported_graphs_are_refused_by_name() -> None:
    model = nn.Sequential(conv(3, 4), nn.ReLU()).eval()
    with pytest.raises(GraphError, match="the model is TorchScript"):
        ChannelGraph.trace(torch.jit.script(model), _BATCH)
    with pytest.raises(GraphError, match="the layer '1' is TorchScript"):
        ChannelGraph.trace(nn.Sequential(model, torch.jit.script(model)), _BATCH)
    with pytest.raises(GraphError, match=r"a graph of ATen operations, as torch\.export makes it"):
        ChannelGraph.trace(fx.GraphModule(model, _aten_graph()), _BATCH)


def _aten_graph() -> fx.Graph:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.ops.aten.relu.default, (graph.placeholder("x"),)))
    return graph


def test_the_example_must_be_a_batch_of_images() -> None:
    with pytest.raises(GraphError, match=r"\[batch, channel, height, width\], not \[3, 8, 8\]"):
        ChannelGraph.trace(_pooled(operator.pos), _BATCH[0])


def test_a_forward_with_views_is_traced_whatever_the_memory_order_of_the_example() -> None:
    model = Whole(
        lambda net, images: net.fc(F.max_pool2d(net.conv(images), 2).view(images.size(0), -1)),
        conv=conv(3, 8),
        fc=torch.nn.Linear(8 * 4 * 4, 4),
    ).eval()
    images = torch.randn(4, 3, 8, 8)
    graph = ChannelGraph.trace(model, images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(graph.network(images), model(images))
