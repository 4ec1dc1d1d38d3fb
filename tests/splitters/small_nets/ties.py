"""Sums and products that tie channels, normalisations, groups, and shortcuts without parameters."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small_nets.nets import Between, Case, Forward, Whole, between, conv, tied


def ties() -> list[Case]:
    excite = conv(4, 8, 1)
    squeeze: Forward = lambda net, x: x * torch.sigmoid(net.other(F.relu(net.down(F.adaptive_avg_pool2d(x, 1)))))  # noqa: E731
    return [
        tied("residual sum", lambda net, x: F.relu(x + net.other(x)), conv(8, 8)),
        tied("sum by torch.add and names", lambda net, x: torch.add(input=x, other=net.other(x)), conv(8, 8)),
        tied("sum in place", lambda net, x: net.other(x).add_(x), conv(8, 8)),
        tied("difference, product, quotient", lambda net, x: (x - net.other(x)) * x / (x**2 + 1), conv(8, 8)),
        tied("depthwise", lambda net, x: net.other(x), conv(8, 8, groups=8)),
        tied("grouped in twos", lambda net, x: net.other(x), conv(8, 8, groups=4), channels=4 + 6),
        tied("size taken from another tensor", lambda net, x: net.other(x).reshape(x.shape), conv(8, 8)),
        tied("branches in a stack", lambda net, x: torch.stack([x, net.other(x)]).mean(0), conv(8, 8)),
        tied("branches weighted by attention",
              lambda net, x: (torch.stack([x, net.other(x)], 1) * net.attend(x.mean((2, 3))).view(-1, 2, 8).softmax(1)
                              .unsqueeze(-1).unsqueeze(-1)).sum(1), conv(8, 8), attend=nn.Linear(8, 16)),
        tied("branches behind one another", lambda net, x: torch.cat([x.flatten(2), net.other(x).flatten(2)], 2)
              .amax(2)[..., None, None], conv(8, 8)),
        tied("the largest of a stack", lambda net, x: torch.stack([x, net.other(x)], -1).max(-1)[0], conv(8, 8)),
        Case(
            "an encoder whose weight decodes",
            lambda: Between(
                lambda net, x: x + F.conv_transpose2d(F.relu(F.conv2d(x, net.code, padding=1)), net.code, padding=1),
                code=nn.Parameter(conv(8, 5).weight.detach()),
            ),
            {"conv": 8, "last": 6, "code": 5, "code (ConvTranspose2d)": 8},
            frozenset({frozenset({"conv", "code (ConvTranspose2d)"})}),
            8 + 5 + 6,
        ),
        tied("expand as another tensor", lambda net, x: net.other(x).mean((2, 3), True).expand_as(x), conv(8, 8)),
        Case(
            "squeeze and excitation by convolutions",
            lambda: Between(squeeze, other=excite, down=conv(8, 4, 1)),
            {"conv": 8, "last": 6, "down": 4, "other": 8},
            frozenset({frozenset({"conv", "other"})}),
            8 + 6 + 4,
        ),
        Case(
            "squeeze and excitation by linear layers",
            lambda: Between(
                lambda net, x: x * net.up(F.relu(net.down(x.mean((2, 3))))).view(x.size(0), x.size(1), 1, 1).sigmoid(),
                down=nn.Linear(8, 4), up=nn.Linear(4, 8),
            ),
        ),
        Case(
            "depthwise with a multiplier",
            lambda: Between(lambda net, x: net.other(x), 16, other=conv(8, 16, groups=8)),
            {"conv": 8, "last": 6, "other": 16},
            frozenset({frozenset({"conv", "other"})}),
            8 + 6,
        ),
        Case(
            "a module called twice",
            lambda: Between(lambda net, x: net.other(F.relu(net.other(x))), other=conv(8, 8)),
            {"conv": 8, "last": 6, "other": 8},
            frozenset({frozenset({"conv", "other"})}),
            8 + 6,
        ),
        Case(
            "concatenation of two convolutions",
            lambda: Between(lambda net, x: torch.cat([x, net.other(x)], 1), 13, other=conv(8, 5)),
            {"conv": 8, "last": 6, "other": 5},
        ),
        Case(
            "twice the size of another tensor",
            lambda: Between(lambda net, x: x.view(x.size(0), net.other(x).size(1) * 2, 8, 8), other=conv(8, 4)),
            {"conv": 0, "last": 6, "other": 0},
            frozen=("takes its size from channels of another tensor",),
        ),
        Case(
            "sizes of two other tensors",
            lambda: Between(
                lambda net, x: x.view(x.size(0), net.other(x).size(1), net.third(x).size(1), 8, 8).flatten(1, 2),
                other=conv(8, 4), third=conv(8, 2),
            ),
            {"conv": 8, "last": 6, "other": 4, "third": 0},
            frozenset({frozenset({"conv", "other"})}),
            4 + 6,
            ("is the size of several axes",),
        ),
        Case(
            "the channel count as the size of a constant",
            lambda: Between(lambda net, x: x + net.zero.expand(x.size()), zero=torch.zeros(1)),
        ),
        Case(
            "spatial attention of one kernel, expanded",
            lambda: Between(
                lambda net, x: (
                    x * net.other(x).sigmoid().expand_as(x) + x * net.other(x).expand(x.size(0), x.size(1), -1, -1)
                ),
                other=conv(8, 1, 7),
            ),
            {"conv": 8, "last": 6, "other": 0},
            frozen=("is broadcast over the channels",) * 2,
        ),
        Case(
            "spatial attention of one kernel",
            lambda: Between(lambda net, x: x * torch.sigmoid(net.other(x)), other=conv(8, 1, 7)),
            {"conv": 8, "last": 6, "other": 0},
            frozen=("is broadcast over the channels",),
        ),
    ]  # fmt: skip


def norms() -> list[Case]:
    def read_twice(net: Between, x: Tensor) -> Tensor:
        return net.norm(net.drop(x)) + x

    def functional(net: Between, x: Tensor) -> Tensor:
        return F.batch_norm(x, net.mean, net.variance, net.weight, net.shift, eps=0.1)

    vectors = {"mean": torch.linspace(-1, 1, 8), "variance": torch.linspace(0.5, 2, 8)}
    scales = {"weight": torch.linspace(0.5, 1.5, 8), "shift": torch.linspace(1, -1, 8)}
    return [
        between("norm after convolution", lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8)),
        between("norm of several processes", lambda net, x: net.norm(x), norm=nn.SyncBatchNorm(8)),
        between("instance norm", lambda net, x: net.norm(x), norm=nn.InstanceNorm2d(8)),
        between("instance norm with weights", lambda net, x: net.norm(x), norm=nn.InstanceNorm2d(8, affine=True)),
        between("instance norm with statistics", lambda net, x: net.norm(x),
                 norm=nn.InstanceNorm2d(8, affine=True, track_running_stats=True)),
        between("norm without weights", lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8, affine=False)),
        between("norm after activation", lambda net, x: net.norm(F.relu(x)), norm=nn.BatchNorm2d(8)),
        between("norm whose input is read elsewhere", lambda net, x: net.norm(x) + x, norm=nn.BatchNorm2d(8)),
        between("read elsewhere, past a dropout", read_twice, norm=nn.BatchNorm2d(8), drop=nn.Dropout()),
        between("norm used twice", lambda net, x: net.norm(F.relu(net.norm(x))), norm=nn.BatchNorm2d(8)),
        between("functional norm", functional, **vectors, **scales),
        between("overwritten norm", lambda net, x: x.clone() - net.norm(x).relu_() + x, norm=nn.BatchNorm2d(8)),
        between("a copy of what is overwritten", lambda net, x: x.clone() - 2 * x.relu_()),
        between("scalar buffers", lambda net, x: x * net.two + net.one, two=torch.tensor(2.0), one=torch.ones(1)),
    ]  # fmt: skip


def group_norms() -> list[Case]:
    def norm(name: str, layer: nn.Module, units: int) -> Case:
        return Case(name, lambda: Between(lambda net, x: F.relu(net.norm(x)), norm=layer), channels=units + 6)

    values = torch.linspace(0.5, 1.5, 8)
    joined = lambda net, x: net.norm(torch.cat([x, net.other(x)], 1))  # noqa: E731
    return [
        norm("group norm of two groups", nn.GroupNorm(2, 8), 2),
        norm("group norm of four groups without weights", nn.GroupNorm(4, 8, affine=False), 4),
        norm("group norm of single channels", nn.GroupNorm(8, 8, eps=0.1), 8),
        Case("functional group norm",
             lambda: Between(lambda net, x: F.group_norm(x, 4, net.scale, eps=0.3), scale=nn.Parameter(values)),
             channels=4 + 6),
        Case("group norm with a computed weight", lambda: Between(
            lambda net, x: F.group_norm(x, num_groups=4, weight=net.scale + 1, bias=net.scale),
            scale=nn.Parameter(values)), channels=4 + 6),
        Case("group norm of vectors", lambda: Between(
            lambda net, x: x * net.norm(x.mean((2, 3))).sigmoid()[..., None, None], norm=nn.GroupNorm(4, 8)),
            channels=4 + 6),
        Case("group norm over two convolutions", lambda: Between(
            joined, 12, norm=nn.GroupNorm(2, 12), other=conv(8, 4)),
            {"conv": 8, "last": 6, "other": 4}, frozenset({frozenset({"conv", "other"})}), 2 + 6),
        Case("group norm over convolution and image", lambda: Whole(
            lambda net, x: net.fc(net.last(net.norm(torch.cat([net.conv(x), x], 1))).mean((2, 3))),
            conv=conv(3, 9), norm=nn.GroupNorm(3, 12), last=conv(12, 6), fc=nn.Linear(6, 4)),
            {"conv": 8, "last": 6}, channels=2 + 6, frozen=("no kernel's",)),
    ]  # fmt: skip


def parameter_free_shortcuts() -> list[Case]:
    def strided(pad: Callable[[Tensor], Tensor]) -> Forward:
        return lambda net, x: F.relu(net.wide(x) + pad(x[:, :, ::2, ::2]))

    def case(name: str, pad: Callable[[Tensor], Tensor], channels: int, ties: bool = True) -> Case:
        return Case(
            name, lambda: Between(strided(pad), 16, wide=conv(8, 16, stride=2)), {"conv": 8, "last": 6, "wide": 16},
            frozenset({frozenset({"conv", "wide"})}) if ties else frozenset(), channels + 6,
        )  # fmt: skip

    return [
        case("padded shortcut", lambda x: F.pad(x, (0, 0, 0, 0, 4, 4), "constant", 0), 16),
        case("shortcut padded behind, by default", lambda x: F.pad(x, (0, 0, 0, 0, 0, 8)), 16),
        case("shortcut padded up to a number", lambda x: F.pad(x, (0, 0, 0, 0, 0, 16 - x.size(1))), 16),
        case("shortcut padded by a constant, in space too",
             lambda x: F.pad(x[..., :3, :2], (1, 1, 0, 1, 3, 5), value=0.7), 16),
        case("shortcut joined with zeros like it", lambda x: torch.cat([x, torch.zeros_like(x)], 1), 8),
        case("shortcut joined with itself times zero", lambda x: torch.cat([x.mul(0), x], 1), 8),
        case("shortcut joined with zeros", lambda x: torch.cat([x, torch.zeros((x.size(0), 8, 4, 4))], 1), 16),
        case("shortcut between new zeros", lambda x: torch.cat([
            x.new_zeros(x.size(0), 8 - x.size(1) // 2, x.size(2), x.size(3)), x, x.new_zeros((x.size(0), 4, 4, 4)),
        ], 1), 16),
        case("shortcut joined with zeros by sizes", lambda x: torch.cat([x, torch.zeros(x.size(0), 8, 4, 4)], 1), 16),
        case("shortcut joined with new memory", lambda x: torch.cat([
            x.new_empty(x.size(0), 4, 4, 4).zero_(), x, torch.empty(x.size(0), x.size(1) // 2, 4, 4).fill_(0.5),
        ], 1), 16),
        case("shortcut padded by a layer made in the forward", lambda x: nn.ZeroPad3d((0, 0, 0, 0, 4, 4))(x), 16),
        case("shortcut cut and padded", lambda x: F.pad(x, (0, 0, 0, 0, -2, 10)), 18),
        Case("shortcut that loses channels", lambda: Between(
            lambda net, x: net.other(x) + F.pad(x, (0, 0, 0, 0, -1, -2)), 5, other=conv(8, 5)),
            {"conv": 8, "last": 6, "other": 5}, frozenset({frozenset({"conv", "other"})}), 8 + 6),
        Case("padded image", lambda: Whole(
            lambda net, x: net.fc(net.last(net.conv(x) + F.pad(x, (0, 0, 0, 0, 2, 3))).mean((2, 3))),
            conv=conv(3, 8), last=conv(8, 6), fc=nn.Linear(6, 4)), {"conv": 5, "last": 6}, frozen=("no kernel's",)),
        between("channels padded and read", lambda net, x: F.pad(x, (0, 0, 0, 0, 1, -1), value=0.3)),
    ]  # fmt: skip
