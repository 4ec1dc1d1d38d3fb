"""Activations, also in place, pools, reductions and transposed convolutions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small_nets.nets import Between, Case, Forward, between


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


def activations() -> list[Case]:
    modules = [
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(),
        nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.5, 0.7),
        nn.Softplus(2.0), nn.Softsign(), nn.LogSigmoid(), nn.Softshrink(0.1), nn.Hardshrink(0.1), nn.Tanhshrink(),
        nn.Threshold(0.1, 0.8), nn.Sigmoid(), nn.Tanh(), nn.PReLU(), nn.PReLU(8), nn.RReLU(0.1, 0.4), nn.Softmin(3),
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
        "F.rrelu": lambda net, x: F.rrelu(x, 0.1, 0.4, net.training) + F.rrelu_(x - 0.5),
        "values that are not finite": lambda net, x: torch.where(x.isnan() | torch.isinf(x) | ~x.isfinite(), 1.0, x),
        "F.prelu, one slope": lambda net, x: F.prelu(x, net.slope),
        "F.prelu, a slope per channel": lambda net, x: F.prelu(x, weight=net.slopes),
    }
    slopes = {"slope": torch.tensor([0.3]), "slopes": torch.linspace(-0.5, 0.9, 8)}
    return [between(str(module), lambda net, x: net.act(x), act=module) for module in modules] + [
        between(name, show, **(slopes if "slope" in name else {})) for name, show in functions.items()
    ]


def pools() -> list[Case]:
    modules = [
        nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d((2, None)),
        nn.AdaptiveMaxPool2d(2), nn.LPPool2d(2, 2), nn.Upsample(scale_factor=2), nn.UpsamplingBilinear2d(12),
        nn.Upsample(scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
        nn.ZeroPad2d(1), nn.ConstantPad2d(1, 0.7), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1),
        nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.Identity(),
    ]  # fmt: skip
    functions: dict[str, Forward] = {
        "F.max_pool2d": lambda net, x: F.max_pool2d(x, 2, stride=1),
        "F.max_pool2d with places": lambda net, x: F.max_pool2d(x, 2, return_indices=True)[0],
        "max pooling with places": lambda net, x: net.pool(x)[0],
        "adaptive max pooling with places": lambda net, x: (
            net.adaptive(x)[0] + _first(*F.adaptive_max_pool2d(x, 2, return_indices=True))
        ),
        "F.max_pool2d_with_indices": lambda net, x: F.max_pool2d_with_indices(x, 2)[0],
        "max pooling of rows with places": lambda net, x: F.max_pool1d(x.flatten(2), 2, return_indices=True)[
            0
        ].unflatten(2, (8, 4)),
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
        "a spatial transformer": lambda net, x: F.grid_sample(
            x, F.affine_grid(net.theta.sin().expand(len(x), -1, -1), x.size(), align_corners=False), align_corners=False
        ),
        "F.instance_norm": lambda net, x: F.instance_norm(x, weight=net.scale, bias=net.shift),
        "a row, kept as an axis": lambda net, x: x[..., 0, None, :],
    }
    tensors = {
        "a spatial transformer": {"theta": torch.tensor([[[0.7, 0.2, 0.1], [-0.1, 0.6, 0.3]]])},
        "index_select of rows": {"rows": torch.tensor([3, 0, 0])},
        "max pooling with places": {"pool": nn.MaxPool2d(2, return_indices=True)},
        "adaptive max pooling with places": {"adaptive": nn.AdaptiveMaxPool2d(2, return_indices=True)},
        "F.instance_norm": {"scale": torch.linspace(0.5, 1.5, 8), "shift": torch.linspace(1, -1, 8)},
    }
    return [between(str(module), lambda net, x: net.pool(x), pool=module) for module in modules] + [
        between(name, show, **tensors.get(name, {})) for name, show in functions.items()
    ]


def reductions() -> list[Case]:
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
    return [between(name, show) for name, show in functions.items()]


def _first(values: Tensor, indices: Tensor) -> Tensor:
    return values


def transposed() -> list[Case]:
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
