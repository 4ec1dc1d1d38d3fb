"""Minimal networks, each for one operation, one of its spellings, or one way to tie channels."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

Forward = Callable[..., Tensor]


class Between(nn.Module):
    """A convolution of 8 kernels, what is to be shown, another convolution of 6 kernels, and a linear layer.

    Args:
        show: Takes this network and the first convolution's output, and returns what the second one reads.
        reads: Channels that the second convolution reads.
        **layers: What else ``show`` needs.
    """

    def __init__(self, show: Forward, reads: int = 8, **layers: nn.Module | Tensor) -> None:
        super().__init__()
        self.show = show
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(reads, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)
        for name, layer in layers.items():
            if isinstance(layer, nn.Module):
                self.add_module(name, layer)
            elif isinstance(layer, nn.Parameter):
                self.register_parameter(name, layer)
            else:
                self.register_buffer(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.last(self.show(self, self.conv(images))).mean((2, 3)))


class Whole(nn.Module):
    """A network whose whole forward is given as a function of the network and the images."""

    def __init__(self, run: Forward, **layers: nn.Module | Tensor | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            if isinstance(layer, nn.Module):
                self.add_module(name, layer)
            elif isinstance(layer, nn.Parameter):
                self.register_parameter(name, layer)
            else:
                self.register_buffer(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(self, images)


@dataclass(frozen=True)
class Case:
    """A network and its expected graph.

    Args:
        name: What it shows.
        make: Builds it.
        maskable: Kernels that can be dropped, per convolution.
        tied: Sets of convolutions of which some share channels; sets of one are left out.
        channels: How many maskable channels there are; None where it is as many as maskable kernels.
        frozen: A part of each reason given.
    """

    name: str
    make: Callable[[], nn.Module]
    maskable: dict[str, int] = field(default_factory=lambda: {"conv": 8, "last": 6})
    tied: frozenset[frozenset[str]] = frozenset()
    channels: int | None = None
    frozen: tuple[str, ...] = ()


def conv(inputs: int, outputs: int, size: int = 3, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **settings)


def _between(name: str, show: Forward, reads: int = 8, **layers: nn.Module | Tensor) -> Case:
    return Case(name, lambda: Between(show, reads, **layers))


def _tied(name: str, show: Forward, other: nn.Module, channels: int = 14, **layers: nn.Module) -> Case:
    """A case in which ``conv`` and ``other`` (8 kernels) share their channels."""
    return Case(
        name,
        lambda: Between(show, other=other, **layers),
        {"conv": 8, "last": 6, "other": 8},
        frozenset({frozenset({"conv", "other"})}),
        channels,
    )


def _frozen(name: str, show: Forward, *reasons: str, reads: int = 8, **layers: nn.Module | Tensor) -> Case:
    """A case in which all kernels of ``conv`` freeze."""
    return Case(name, lambda: Between(show, reads, **layers), {"conv": 0, "last": 6}, frozen=reasons)


def _first_half_in_place(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first.relu_(), second], 1)


def _halves_in_place(overwrite: Callable[[Tensor, Tensor], object]) -> Forward:
    def show(net: Between, x: Tensor) -> Tensor:
        first, second = x.split(4, 1)
        overwrite(first, second)
        return torch.cat([first, second], 1)

    return show


def _augmented_half(first: Tensor, second: Tensor) -> None:
    first += 1
    first *= 2


def _slices_in_place(net: Between, x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    left = first[:, :2]
    left.relu_()
    right = first[:, 2:]
    right.mul_(2)
    return torch.cat([left, right, second], 1)


def _copy_in_place(net: Between, x: Tensor) -> Tensor:
    repeated, tiled = x.repeat(1, 1, 1, 1), x.tile((1,))
    repeated.relu_()
    tiled.mul_(2)
    return x + repeated - tiled.sigmoid()


def _augmented(net: Between, x: Tensor) -> Tensor:
    y, mask = x, x > 0
    y += 1
    y *= 2
    y -= 0.5
    y /= 3
    y **= 2
    mask &= y < 1
    return (x + y) * mask


def _activations() -> list[Case]:
    modules = [
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(),
        nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.5, 0.7),
        nn.Softplus(2.0), nn.Softsign(), nn.LogSigmoid(), nn.Softshrink(0.1), nn.Hardshrink(0.1), nn.Tanhshrink(),
        nn.Threshold(0.1, 0.8), nn.Sigmoid(), nn.Tanh(), nn.PReLU(), nn.PReLU(8), nn.Softmin(3),
    ]  # fmt: skip
    functions: dict[str, Forward] = {
        "torch.relu": lambda net, x: torch.relu(x),
        "F.relu": lambda net, x: F.relu(x),
        "F.relu in place, by position": lambda net, x: F.relu(x, True) + x,
        "x.relu_ read later": lambda net, x: x.relu_() + x,
        "F.elu in place": lambda net, x: F.elu(x, 0.7, inplace=True),
        "F.gelu": lambda net, x: F.gelu(x, approximate="tanh"),
        "F.softplus": lambda net, x: F.softplus(x, beta=2),
        "F.hardtanh": lambda net, x: F.hardtanh(x, min_val=-0.3, max_val=0.2),
        "torch.sigmoid": lambda net, x: torch.sigmoid(input=x),
        "x.tanh": lambda net, x: x.tanh(),
        "clamp": lambda net, x: x.clamp(min=-0.2).clamp(-1, 1),
        "exp, log, sqrt, abs": lambda net, x: torch.sqrt(torch.log(torch.exp(x).abs() + 1) + 1),
        "augmented assignments": _augmented,
        "a part overwritten": lambda net, x: _first_half_in_place(*x.chunk(2, 1)),
        "both parts overwritten": _halves_in_place(lambda first, second: (first.relu_(), F.relu(second, inplace=True))),
        "a part overwritten twice": _halves_in_place(lambda first, second: (first.relu_(), first.mul_(2))),
        "a part overwritten twice in one line": _halves_in_place(lambda first, second: first.relu_().mul_(2)),
        "augmented assignments to a part": _halves_in_place(_augmented_half),
        "slices of a part overwritten": _slices_in_place,
        "a copy by repeat overwritten": _copy_in_place,
        "a view overwritten": lambda net, x: x.flatten(1).relu_().view(x.shape),
        "x is a tensor": lambda net, x: x if isinstance(x, Tensor) else -x,
        "len": lambda net, x: x.reshape(len(x), -1).view(x.shape),
        "bounds one by one": lambda net, x: x.clamp_min(-0.1) + torch.clamp_max(x, max=0.3) + (+x),
        "remainders": lambda net, x: x % 0.5 + torch.remainder(x, 0.3) + x.fmod(0.2) + x // 0.25,
        "further functions of a number": lambda net, x: torch.atan2(x.atan(), x.cosh()) + (x.abs() + 1).log2(),
        "powers": lambda net, x: x**2 + x.pow(exponent=3) + torch.pow(x, 2) + 1.5 ** (-x),
        "quotient": lambda net, x: x / (x * x + 1).div(other=2),
        "where": lambda net, x: torch.where(x > 0, x, 0.1 * x).where(x < 1, 1.0),
        "masked fill": lambda net, x: x.masked_fill((x > 1) | ~(x >= -1), 0.5),
        "a condition as zeros and ones": lambda net, x: x * (x > 0).float() + (x <= 0).type_as(x),
        "max and min of two": lambda net, x: torch.max(x, -x) - x.min(0.5 * x),
        "square, sign, rounding": lambda net, x: torch.square(x) * x.sign() + x.floor() + x.ceil() + torch.round(x),
        "conversions to what it is": lambda net, x: x.float().to(x.device).to(dtype=x.dtype).type_as(x).cpu().data,
        "maximum": lambda net, x: torch.maximum(x, -x) - torch.minimum(x, x.neg()),
        "F.prelu, one slope": lambda net, x: F.prelu(x, net.slope),
        "F.prelu, a slope per channel": lambda net, x: F.prelu(x, weight=net.slopes),
    }
    slopes = {"slope": torch.tensor([0.3]), "slopes": torch.linspace(-0.5, 0.9, 8)}
    return [_between(str(module), lambda net, x: net.act(x), act=module) for module in modules] + [
        _between(name, show, **(slopes if "slope" in name else {})) for name, show in functions.items()
    ]


def _pools() -> list[Case]:
    modules = [
        nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d((2, None)),
        nn.AdaptiveMaxPool2d(2), nn.LPPool2d(2, 2), nn.Upsample(scale_factor=2), nn.UpsamplingBilinear2d(12),
        nn.ZeroPad2d(1), nn.ConstantPad2d(1, 0.7), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1),
        nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.Identity(),
    ]  # fmt: skip
    functions: dict[str, Forward] = {
        "F.max_pool2d": lambda net, x: F.max_pool2d(x, 2, stride=1),
        "F.avg_pool2d over all": lambda net, x: F.avg_pool2d(x, x.size()[2:]),
        "F.adaptive_avg_pool2d": lambda net, x: F.adaptive_avg_pool2d(x, (1, 1)),
        "F.interpolate to a size": lambda net, x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[-2:]),
        "F.pad": lambda net, x: F.pad(x, (1, 0, 2, 1), value=0.3),
        "F.pad with infinity": lambda net, x: F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-float("inf")), 3),
        "F.dropout": lambda net, x: F.dropout(x, 0.5, net.training),
        "spatial stride": lambda net, x: x[:, :, ::2, 1:],
        "F.max_pool1d of rows": lambda net, x: F.max_pool1d(x.flatten(2), 2).unflatten(2, (8, 4)),
        "flip": lambda net, x: x.flip(-1).flip([2, 3]),
        "flip of channels too": lambda net, x: torch.flip(x, dims=(1, 2)),
        "index_select of rows": lambda net, x: x.index_select(2, net.rows),
        "F.instance_norm": lambda net, x: F.instance_norm(x, weight=net.scale, bias=net.shift),
        "a row, kept as an axis": lambda net, x: x[..., 0, None, :],
    }
    tensors = {
        "index_select of rows": {"rows": torch.tensor([3, 0, 0])},
        "F.instance_norm": {"scale": torch.linspace(0.5, 1.5, 8), "shift": torch.linspace(1, -1, 8)},
    }
    return [_between(str(module), lambda net, x: net.pool(x), pool=module) for module in modules] + [
        _between(name, show, **tensors.get(name, {})) for name, show in functions.items()
    ]


def _reductions() -> list[Case]:
    functions: dict[str, Forward] = {
        "max along an axis": lambda net, x: x.max(3, keepdim=True)[0] + torch.max(x, dim=3, keepdim=True).values,
        "max, unpacked": lambda net, x: _first(*x.max(2))[:, :, None],
        "min along an axis": lambda net, x: x.min(-1).values.unsqueeze(-1),
        "std and var": lambda net, x: x.std((2, 3), keepdim=True) + torch.var(x, dim=3, unbiased=False)[..., None],
        "std by correction": lambda net, x: torch.std(x, (2, 3), correction=0, keepdim=True),
        "var_mean": lambda net, x: sum(torch.var_mean(x, (2, 3), keepdim=True)),
        "norm": lambda net, x: x.norm(dim=(2, 3), keepdim=True) + torch.norm(x, 1, (2, 3))[..., None, None],
        "NumPy's names": lambda net, x: x.sum(axis=(2, 3), keepdims=True) + x.max(axis=2, keepdims=True)[0],
        "softmax over places": lambda net, x: x.flatten(2).softmax(-1).view(x.shape) + F.softmax(x, dim=3),
        "normalised and rolled places": lambda net, x: F.normalize(x, dim=2).roll((1, -1), (2, 3)).cumsum(3),
        "layer norm of rows": lambda net, x: F.layer_norm(x, (8,)) + F.rms_norm(x, (8, 8)),
        "logsumexp and prod": lambda net, x: x.logsumexp((2, 3), keepdim=True) + x.prod(3, keepdim=True),
        "statistics of flattened pixels": lambda net, x: x.flatten(2).max(2)[0].view(x.size(0), -1, 1, 1),
    }  # fmt: skip
    return [_between(name, show) for name, show in functions.items()]


def _first(values: Tensor, indices: Tensor) -> Tensor:
    return values


def _transposed() -> list[Case]:
    def up(outputs: int, **settings: object) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(8, outputs, 3, stride=2, padding=1, **settings)

    one = {"conv": 8, "last": 6, "other": 5}
    tied = {"conv": 8, "last": 6, "other": 8}
    both = frozenset({frozenset({"conv", "other"})})
    enlarge: Forward = lambda net, x: net.other(x)  # noqa: E731
    return [
        Case("transposed convolution", lambda: Between(enlarge, 5, other=up(5, output_padding=1)), one),
        Case("transposed convolution without bias", lambda: Between(enlarge, 5, other=up(5, bias=False)), one),
        Case("transposed convolution and norm",
             lambda: Between(lambda net, x: net.norm(net.other(x)), 5, other=up(5), norm=nn.BatchNorm2d(5)), one),
        Case("transposed convolution to a size",
             lambda: Between(lambda net, x: net.other(F.max_pool2d(x, 2), output_size=x.size()), 5, other=up(5)), one),
        Case("depthwise transposed convolution", lambda: Between(enlarge, other=up(8, groups=8)), tied, both, 8 + 6),
        Case("depthwise transposed convolution with a multiplier",
             lambda: Between(enlarge, 16, other=up(16, groups=8)), tied | {"other": 16}, both, 8 + 6),
        Case("transposed convolution in two groups", lambda: Between(enlarge, 4, other=up(4, groups=2)),
             tied | {"other": 4}, both, 2 + 6),
        Case("convolution of one axis",
             lambda: Between(lambda net, x: net.other(x.flatten(2)).unsqueeze(2), 5, other=nn.Conv1d(8, 5, 3)), one),
        Case("depthwise convolution of one axis, and a norm",
             lambda: Between(lambda net, x: net.norm(net.other(x.flatten(2))).unsqueeze(2),
                             other=nn.Conv1d(8, 8, 3, groups=8), norm=nn.BatchNorm1d(8)), tied, both, 8 + 6),
    ]  # fmt: skip


def _rearrangements() -> list[Case]:
    def fours(name: str, show: Forward, reads: int, channels: int, **layers: nn.Module) -> Case:
        return Case(name, lambda: Between(show, reads, **layers), channels=channels + 6)

    return [
        fours("pixel shuffle", lambda net, x: net.up(x), 2, 2, up=nn.PixelShuffle(2)),
        fours("F.pixel_shuffle and back", lambda net, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), 8, 2),
        fours("pixel unshuffle", lambda net, x: net.down(x), 32, 8, down=nn.PixelUnshuffle(2)),
        fours("channel shuffle", lambda net, x: net.shuffle(x), 8, 4, shuffle=nn.ChannelShuffle(2)),
        fours("Unflatten", lambda net, x: net.part(x.flatten(2)), 8, 8, part=nn.Unflatten(2, (4, 16))),
        fours("stack along a new axis", lambda net, x: torch.stack([x, x.relu()], dim=-1).sum(-1), 8, 8),
        fours("largest of two channels", lambda net, x: x.view(x.size(0), 4, 2, 8, 8).amax(2), 4, 4),
        fours("mean of two halves", lambda net, x: x.unflatten(1, (2, -1)).mean(1), 4, 4),
        fours("stack before the channels", lambda net, x: torch.stack([x, -x], dim=1).amax(1), 8, 8),
        fours("gated linear unit", lambda net, x: net.gate(x), 4, 4, gate=nn.GLU(1)),
    ]


def _shapes() -> list[Case]:
    def shuffle(sizes: Callable[[Tensor], tuple[object, ...]], back: Callable[[Tensor], tuple[object, ...]]) -> Forward:
        return lambda net, x: x.view(sizes(x)).transpose(1, 2).contiguous().view(back(x))

    whole: dict[str, Forward] = {
        "cat with itself, sliced": lambda net, x: torch.cat([x[:, 4:], x[:, :4]], dim=1),
        "cat by name": lambda net, x: torch.cat(tensors=[x[:, :3], x[:, 3:]], dim=-3),
        "concat of chunks": lambda net, x: torch.concat(x.chunk(2, dim=1)[::-1], 1),
        "chunk by name": lambda net, x: torch.cat(torch.chunk(input=x, chunks=4, dim=1), 1),
        "split into equal parts": lambda net, x: torch.cat(torch.split(x, 3, dim=1), 1),
        "split by sizes": lambda net, x: torch.cat(x.split([1, 5, 2], -3), 1),
        "slice from half of the channels": lambda net, x: torch.cat([x[:, x.size(1) // 2 :], x[:, :4]], 1),
        "narrow": lambda net, x: torch.cat([x.narrow(-3, 2, 6), torch.narrow(x, dim=1, start=0, length=2)], 1),
        "permute": lambda net, x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
        "torch.permute": lambda net, x: torch.permute(x, dims=(0, 1, 3, 2)),
        "swapaxes": lambda net, x: x.swapaxes(-1, -2),
        "squeeze and unsqueeze": lambda net, x: x.unsqueeze(1).squeeze(1),
        "flatten and view back": lambda net, x: x.flatten(2).view(x.size(0), -1, x.size(2), x.size(3)),
        "reshape by sizes": lambda net, x: x.reshape(x.shape[0], x.shape[1], -1).view(x.size()),
        "view by added sizes": lambda net, x: x.view(x.shape[:2] + (-1,)).view(x.shape),  # noqa: RUF005
        "unflatten": lambda net, x: x.flatten(1).unflatten(1, (-1, 8, 8)),
        "expand": lambda net, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4),
        "expand to a size": lambda net, x: x * x.mean((2, 3), keepdim=True).expand(x.size()),
        "expand as": lambda net, x: x * x.amax((2, 3), keepdim=True).expand_as(x),
        "repeat of a channel's mean": lambda net, x: x * x.mean((2, 3), True).repeat(1, 1, x.size(2), x.size(3)),
        "repeat of rows, and tile": lambda net, x: x.repeat([1, 1, 2, 1]).tile((2,)),
        "repeat interleaved": lambda net, x: x.repeat_interleave(2, dim=-1),
        "view and reshape as": lambda net, x: x.flatten(1).view_as(x) + x.flatten(2).reshape_as(x),
        "broadcast to": lambda net, x: x * torch.broadcast_to(x.mean((2, 3), keepdim=True), x.shape),
        "movedim": lambda net, x: torch.moveaxis(x.movedim((2, 3), (1, 2)).relu(), -1, 1).mT,
        "tensor_split and hstack": lambda net, x: torch.hstack(x.tensor_split(3, 1)[::-1]),
        "rows by number": lambda net, x: x.select(3, 0)[..., None] + x.mT.adjoint().select(dim=-1, index=1)[..., None],
        "swapped axes": lambda net, x: x.swapdims(2, 3),
        "unbound rows": lambda net, x: torch.stack(x.unbind(2)[::-1], -1),
        "new tensors of its size": lambda net, x: (
            x.mul(2) - x.new_ones(x.shape) * torch.zeros(x.size()) + x.new_full((x.size(0), 8, 8, 8), 0.3)
            + torch.full((x.size(0), 8, 8, 8), 0.2) + torch.full_like(x, 0.1)
        ),
        "coordinates as another channel": lambda net, x: x + 0 * torch.cat(
            [x, torch.linspace(-1, 1, x.size(2)).view(1, 1, -1, 1).expand(x.size(0), 1, -1, x.size(3))], 1)[:, :-1],
        "multiplied by height and width": lambda net, x: x.view(x.size(0), x.size(1) * x.size(2) * x.size(3)).view(
            x.size(0), -1, x.size(2), x.size(3)
        ),
    }  # fmt: skip
    by_two = dict.fromkeys(("conv",), 8) | {"last": 6}
    return [
        *[_between(name, show) for name, show in whole.items()],
        Case(
            "channel shuffle in two groups",
            lambda: Between(shuffle(lambda x: (x.size(0), 2, x.size(1) // 2, 8, 8), lambda x: (x.size(0), -1, 8, 8))),
            by_two, channels=4 + 6,
        ),
        Case(
            "channel shuffle in fours, of which the size is inferred",
            lambda: Between(
                shuffle(lambda x: (x.size(0), -1, x.size(1) // 4, 8, 8), lambda x: (x.size(0), x.size(1), 8, 8))
            ),
            by_two, channels=2 + 6,
        ),
    ]  # fmt: skip


def _ties() -> list[Case]:
    excite = conv(4, 8, 1)
    squeeze: Forward = lambda net, x: x * torch.sigmoid(net.other(F.relu(net.down(F.adaptive_avg_pool2d(x, 1)))))  # noqa: E731
    return [
        _tied("residual sum", lambda net, x: F.relu(x + net.other(x)), conv(8, 8)),
        _tied("sum by torch.add and names", lambda net, x: torch.add(input=x, other=net.other(x)), conv(8, 8)),
        _tied("sum in place", lambda net, x: net.other(x).add_(x), conv(8, 8)),
        _tied("difference, product, quotient", lambda net, x: (x - net.other(x)) * x / (x**2 + 1), conv(8, 8)),
        _tied("depthwise", lambda net, x: net.other(x), conv(8, 8, groups=8)),
        _tied("grouped in twos", lambda net, x: net.other(x), conv(8, 8, groups=4), channels=4 + 6),
        _tied("size taken from another tensor", lambda net, x: net.other(x).reshape(x.shape), conv(8, 8)),
        _tied("branches in a stack", lambda net, x: torch.stack([x, net.other(x)]).mean(0), conv(8, 8)),
        _tied("branches behind one another", lambda net, x: torch.cat([x.flatten(2), net.other(x).flatten(2)], 2)
              .amax(2)[..., None, None], conv(8, 8)),
        _tied("the largest of a stack", lambda net, x: torch.stack([x, net.other(x)], -1).max(-1)[0], conv(8, 8)),
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
        _tied("expand as another tensor", lambda net, x: net.other(x).mean((2, 3), True).expand_as(x), conv(8, 8)),
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
            {"conv": 0, "last": 6},
            frozen=("an axis that holds other values", "no kernel's"),
        ),
        Case(
            "spatial attention of one kernel",
            lambda: Between(lambda net, x: x * torch.sigmoid(net.other(x)), other=conv(8, 1, 7)),
            {"conv": 8, "last": 6, "other": 0},
            frozen=("is broadcast over the channels",),
        ),
    ]  # fmt: skip


def _norms() -> list[Case]:
    def read_twice(net: Between, x: Tensor) -> Tensor:
        return net.norm(net.drop(x)) + x

    def functional(net: Between, x: Tensor) -> Tensor:
        return F.batch_norm(x, net.mean, net.variance, net.weight, net.shift, eps=0.1)

    vectors = {"mean": torch.linspace(-1, 1, 8), "variance": torch.linspace(0.5, 2, 8)}
    scales = {"weight": torch.linspace(0.5, 1.5, 8), "shift": torch.linspace(1, -1, 8)}
    return [
        _between("norm after convolution", lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8)),
        _between("norm of several processes", lambda net, x: net.norm(x), norm=nn.SyncBatchNorm(8)),
        _between("instance norm", lambda net, x: net.norm(x), norm=nn.InstanceNorm2d(8)),
        _between("instance norm with weights", lambda net, x: net.norm(x), norm=nn.InstanceNorm2d(8, affine=True)),
        _between("instance norm with statistics", lambda net, x: net.norm(x),
                 norm=nn.InstanceNorm2d(8, affine=True, track_running_stats=True)),
        _between("norm without weights", lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8, affine=False)),
        _between("norm after activation", lambda net, x: net.norm(F.relu(x)), norm=nn.BatchNorm2d(8)),
        _between("norm whose input is read elsewhere", lambda net, x: net.norm(x) + x, norm=nn.BatchNorm2d(8)),
        _between("read elsewhere, past a dropout", read_twice, norm=nn.BatchNorm2d(8), drop=nn.Dropout()),
        _between("norm used twice", lambda net, x: net.norm(F.relu(net.norm(x))), norm=nn.BatchNorm2d(8)),
        _between("functional norm", functional, **vectors, **scales),
        _between("overwritten norm", lambda net, x: x.clone() - net.norm(x).relu_() + x, norm=nn.BatchNorm2d(8)),
        _between("a copy of what is overwritten", lambda net, x: x.clone() - 2 * x.relu_()),
        _between("scalar buffers", lambda net, x: x * net.two + net.one, two=torch.tensor(2.0), one=torch.ones(1)),
    ]  # fmt: skip


def _frozen_cases() -> list[Case]:
    counted = "computes with the number of channels"
    by_position = "picks channels by their position"
    return [
        _frozen("a repeat of no channel", lambda net, x: torch.cat([x, x.repeat(1, 0, 1, 1)], 1),
                "an unknown operation"),
        _frozen("layer norm", lambda net, x: F.layer_norm(x, (8, 8, 8)), "mixes channels"),
        _frozen("group norm over all channels", lambda net, x: net.norm(x), "its only group holds all",
                norm=nn.GroupNorm(1, 8)),
        _frozen("group norm of one group", lambda net, x: F.group_norm(x, 1), "its only group holds all"),
        _frozen("group norm of one group, by names", lambda net, x: F.group_norm(x, num_groups=1, weight=net.scale),
                "its only group holds all", scale=torch.linspace(0.5, 1.5, 8)),
        _frozen("group norm with weights from the images",
                lambda net, x: F.group_norm(x, num_groups=4, weight=net.scale * x.size(0) / x.size(0)),
                "its weights depend on the images", scale=torch.linspace(0.5, 1.5, 8)),
        _frozen("padded channels of sequences",
                lambda net, x: F.pad(x.flatten(2), (0, 0, 2, 2), "constant").unflatten(2, (8, 8)),
                "changes the number of channels", reads=12),
        _frozen("softmax over channels", lambda net, x: torch.softmax(x, 1), "mixes channels"),
        _frozen("F.softmax over channels", lambda net, x: F.softmax(x, dim=1), "mixes channels"),
        _frozen("unknown function", lambda net, x: torch.frac(x), "unknown operation"),
        _frozen("unknown method", lambda net, x: x.trunc(), "unknown operation"),
        _frozen("unknown module", lambda net, x: net.act(x), "unknown operation", act=nn.RReLU()),
        _frozen("channels by a tensor of numbers", lambda net, x: x.index_select(1, net.order), by_position,
                order=torch.arange(8).flip(0)),
        _frozen("the largest channel's number", lambda net, x: x * x.argmax(1, keepdim=True), "mixes channels"),
        _frozen("rolled channels", lambda net, x: x.roll(1, 1), "mixes channels"),
        _frozen("max over channels", lambda net, x: x.max(1, keepdim=True)[0], "sums over the channels", reads=1),
        _frozen("images that move to another axis",
                lambda net, x: net.mix(x.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).unsqueeze(-1),
                "do not lie along the first axis", mix=nn.Linear(8, 8)),
        _frozen("sum over channels", lambda net, x: x.sum(1, keepdim=True), "sums over the channels", reads=1),
        _frozen("a channel by number", lambda net, x: x[:, 5].unsqueeze(1), by_position, reads=1),
        _frozen("every second channel", lambda net, x: x[:, ::2], by_position, reads=4),
        _frozen("a list of channels", lambda net, x: x[:, [1, 0, 3, 2, 5, 4, 7, 6]], by_position),
        _frozen("a root of the channel count", lambda net, x: x * x.size(1) ** -0.5, counted),
        _frozen("a difference of the channel count", lambda net, x: x.view(x.size(0), x.size(1) - 4, -1, 8, 8)
                .flatten(1, 2), counted),
        _frozen("channels padded by their mirror image", lambda net, x: F.pad(x.flatten(2), (0, 0, 2, 2), "reflect")
                .view(-1, 12, 8, 8), "changes the number of channels", reads=12),
        _frozen("spatial attention by a mean over channels", lambda net, x: x * torch.sigmoid(x.mean(1, keepdim=True)),
                "sums over the channels"),
        _frozen("rounded quotient", lambda net, x: torch.div(x, 0.1, rounding_mode="floor"), "unknown operation"),
    ]  # fmt: skip


def _constants() -> list[Case]:
    """What no image reaches, and tensors with a value per channel."""

    def standardised(net: Between, x: Tensor) -> Tensor:
        centred = net.weight - net.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, net.gain * centred / net.weight.std((1, 2, 3), keepdim=True), net.shift, padding=1)

    def standardised_by_a_norm(net: Between, x: Tensor) -> Tensor:
        flat = net.weight.reshape(1, 8, -1)
        return F.conv2d(x, F.batch_norm(flat, None, None, net.gain.view(-1), training=True).reshape_as(net.weight))

    def two_kernels_of_one_weight(net: Between, x: Tensor) -> Tensor:
        return torch.cat([F.conv2d(x, net.weight[:3], padding=1), F.conv2d(x, net.weight[3:], padding=1)], 1)

    def overwritten(net: Between, x: Tensor) -> Tensor:
        scale = net.scale + 1
        first = x * scale.view(-1, 1, 1)
        return first - x * scale.mul_(2).view(-1, 1, 1)

    values = torch.linspace(-0.7, 1.3, 8)
    scale, shift = nn.Parameter(values), nn.Parameter(values.flip(0) + 0.1)
    weights = {
        "weight": nn.Parameter(torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))),
        "gain": nn.Parameter(values.view(8, 1, 1, 1) + 1),
        "shift": nn.Parameter(values),
    }
    map_ = nn.Parameter(torch.linspace(-1, 1, 512).view(1, 8, 8, 8))
    standard = {"conv": 8, "last": 6, "weight": 8}
    per_channel: dict[str, Forward] = {
        "layer scale": lambda net, x: x + x.relu() * net.scale.view(1, -1, 1, 1),
        "layer scale with channels last": lambda net, x: (x.permute(0, 2, 3, 1) * net.scale).permute(0, 3, 1, 2),
        "a scale whose view reads the channel count": lambda net, x: x * net.scale.view(1, x.size(1), 1, 1),
        "a scale expanded as channels": lambda net, x: x * net.scale.view(1, -1, 1, 1).expand_as(x),
        "a scale expanded to sizes": lambda net, x: x * net.scale[:, None, None].expand(x.size()),
        "a scale repeated for each place": lambda net, x: x * net.scale[:, None, None].repeat(1, x.size(2), x.size(3)),
        "addcmul": lambda net, x: torch.addcmul(net.shift[:, None, None], x, net.scale[:, None, None], value=0.3),
        "lerp and addcdiv": lambda net, x: torch.addcdiv(
            torch.lerp(x, -x, net.scale[:, None, None]), x, x**2 + 1, value=2
        ),
        "addmm": lambda net, x: x * torch.addmm(net.shift, x.mean((2, 3)), net.map[0, 0]).sigmoid()[..., None, None],
        "sum with a factor": lambda net, x: torch.add(x, net.shift[:, None, None], alpha=2).sub(x**2, alpha=0.3),
        "a buffer for each image": lambda net, x: x + net.buffer.expand(x.size(0), -1, x.size(2), x.size(3)),
        "a buffer that decides": lambda net, x: x * net.buffer if net.buffer[0, 0] < 0 else x,
        "a grid of places": lambda net, x: x * torch.arange(x.size(2)).view(-1, 1),
        "a scale in place": lambda net, x: x.mul_(net.scale[:, None, None]) + x,
        "scale and shift of computed values": lambda net, x: (
            x * net.scale.exp()[:, None, None] - (net.shift**2).reshape(1, 8, 1, 1)
        ),
        "a constant divided by channels": lambda net, x: net.shift.view(-1, 1, 1) / (x.abs() + 1),
        "powers by channel": lambda net, x: (x.abs() + 1) ** net.scale.view(-1, 1, 1),
        "the maximum with a constant": lambda net, x: torch.maximum(x, net.scale.view(1, 8, 1, 1)),
        "a PReLU written out": lambda net, x: F.relu(x) - net.scale.view(1, -1, 1, 1) * F.relu(-x),
        "a PReLU with a computed slope": lambda net, x: F.prelu(x, net.scale.sigmoid()),
        "a scale of flattened maps": lambda net, x: (x.flatten(1) * net.map.flatten()).view(x.size(0), -1, 8, 8),
        "a map of values": lambda net, x: x * net.map + net.map[0],
        "a scale of pooled channels": lambda net, x: x * (x.mean((2, 3)) * net.scale).sigmoid()[..., None, None],
        "a constant read by positions alone": lambda net, x: x * net.map[:, :1],
        "part of a constant": lambda net, x: torch.cat([x[:, :3] * net.scale[:3, None, None], x[:, 3:]], 1),
        "a constant overwritten": overwritten,
        "a constant converted as the images": lambda net, x: (
            x * net.scale.to(x)[:, None, None] + net.shift.type_as(x)[:, None, None]
        ),
        "instance norm with computed weights": lambda net, x: F.instance_norm(x, weight=net.scale * 2, bias=net.shift),
    }
    return [
        *[_between(name, show, scale=scale, shift=shift, map=map_, buffer=values.view(1, 8, 1, 1))
          for name, show in per_channel.items()],
        _between("one constant for two tensors", lambda net, x: torch.cat(
            [x * net.scale[:, None, None], torch.cat([x[:, 4:], x[:, :4]], 1) * net.scale[:, None, None]], 1),
            16, scale=scale),
        _between("a product with a matrix", lambda net, x: (x.permute(0, 2, 3, 1) @ net.matrix).permute(0, 3, 1, 2),
                 10, matrix=nn.Parameter(torch.linspace(-1, 1, 80).sin().view(8, 10))),
        _between("buffers per channel", lambda net, x: x * net.scale + net.shift,
                 scale=values.view(8, 1, 1), shift=values.view(1, 8, 1, 1)),
        _between("frozen batch norm", lambda net, x: net.norm(x), norm=torchvision.ops.FrozenBatchNorm2d(8)),
        _between("frozen batch norm after activation", lambda net, x: net.norm(F.relu(x)),
                 norm=torchvision.ops.FrozenBatchNorm2d(8)),
        Case("a weight over its largest values", lambda: Between(lambda net, x: F.conv2d(
            x, net.weight / net.weight.abs().max(1, keepdim=True).values, padding=1), **weights), standard),
        Case("weight standardisation", lambda: Between(standardised, **weights), standard),
        Case("weight standardisation by a batch norm", lambda: Between(standardised_by_a_norm, **weights), standard),
        Case("a standardised weight used twice", lambda: Between(
            lambda net, x: standardised(net, F.relu(standardised(net, x))), **weights),
            standard, frozenset({frozenset({"conv", "weight"})}), 14),
        Case("a blur by a repeated kernel", lambda: Between(lambda net, x: F.conv2d(
            x, net.blur.expand(x.shape[1], -1, -1, -1), padding=1, groups=x.shape[1]),
            blur=nn.Parameter(torch.linspace(-1, 1, 9).view(1, 1, 3, 3))),
            {"conv": 8, "last": 6, "blur": 8}, frozenset({frozenset({"conv", "blur"})}), 14),
        Case("two layers whose weights are parts of one tensor", lambda: Between(two_kernels_of_one_weight, **weights),
             {"conv": 8, "last": 6, "weight": 3, "weight_1": 5}),
        Case("a constant per channel of an image", lambda: Between(
            lambda net, x: x + F.interpolate(net.other(x), size=(8, 8)) * net.scale.view(1, -1, 1, 1),
            other=conv(8, 8), scale=scale), {"conv": 8, "last": 6, "other": 8},
            frozenset({frozenset({"conv", "other"})}), 14),
    ]  # fmt: skip


def _group_norms() -> list[Case]:
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


def _parameter_free_shortcuts() -> list[Case]:
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
        _between("channels padded and read", lambda net, x: F.pad(x, (0, 0, 0, 0, 1, -1), value=0.3)),
    ]  # fmt: skip


def _literal_views() -> list[Case]:
    shuffled = lambda net, x: x.view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)  # noqa: E731
    return [
        _between("literal channel count", lambda net, x: x.view(-1, 8, 64).mean(-1)[..., None, None]),
        _between("literal size of all maps", lambda net, x: x.view(-1, 512).relu().reshape(x.size(0), 8, 8, 8)),
        _between("a literal in expand", lambda net, x: x.mean((2, 3), True).expand(-1, 8, 4, 4)),
        _between("literals beside an inferred size", lambda net, x: x.reshape(x.size(0), 8, -1).view(-1, 8, 8, 8)),
        _between("unflatten by literals", lambda net, x: x.flatten(1).unflatten(1, (8, 8, 8))),
        Case("channel shuffle by literals", lambda: Between(shuffled), channels=4 + 6),
        _tied("literal sizes of two tensors", lambda net, x: (x.view(-1, 8, 64) + net.other(x).view(-1, 8, 64))
              .view(-1, 8, 8, 8), conv(8, 8)),
    ]  # fmt: skip


BETWEEN = [
    *_activations(), *_pools(), *_reductions(), *_transposed(), *_rearrangements(), *_shapes(), *_ties(), *_norms(),
    *_constants(), *_group_norms(), *_parameter_free_shortcuts(), *_literal_views(), *_frozen_cases(),
]  # fmt: skip
