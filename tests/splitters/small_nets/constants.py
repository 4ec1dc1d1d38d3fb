"""Constants of the graph: what no image reaches."""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from small_nets.nets import Between, Case, Forward, between, conv


def constants() -> list[Case]:
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
        "a transposed matrix": lambda net, x: x * (x.mean((2, 3)) @ net.map[0, 0].t() + net.scale.t())[..., None, None],
        "addmm": lambda net, x: x * torch.addmm(net.shift, x.mean((2, 3)), net.map[0, 0]).sigmoid()[..., None, None],
        "mm": lambda net, x: x * torch.mm(x.mean((2, 3)), mat2=net.map[0, 0]).mm(net.map[0, 1])[..., None, None],
        "mv": lambda net, x: x * torch.mv(x.mean((2, 3)), net.scale)[:, None, None, None],
        "a product with a vector": lambda net, x: x * (x.amax((2, 3)) @ net.scale).view(-1, 1, 1, 1),
        "a constant made of numbers": lambda net, x: x * x.new_tensor([0.5, x.size(2)] * 4).view(1, -1, 1, 1),
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
            x * net.scale.to(x)[:, None, None]
            + net.shift.type_as(x)[:, None, None]
            + torch.arange(x.size(3)).type_as(x)
        ),
        "instance norm with computed weights": lambda net, x: F.instance_norm(x, weight=net.scale * 2, bias=net.shift),
    }
    return [
        *[between(name, show, scale=scale, shift=shift, map=map_, buffer=values.view(1, 8, 1, 1))
          for name, show in per_channel.items()],
        between("one constant for two tensors", lambda net, x: torch.cat(
            [x * net.scale[:, None, None], torch.cat([x[:, 4:], x[:, :4]], 1) * net.scale[:, None, None]], 1),
            16, scale=scale),
        between("a product with a matrix", lambda net, x: (x.permute(0, 2, 3, 1) @ net.matrix).permute(0, 3, 1, 2),
                 10, matrix=nn.Parameter(torch.linspace(-1, 1, 80).sin().view(8, 10))),
        between("buffers per channel", lambda net, x: x * net.scale + net.shift,
                 scale=values.view(8, 1, 1), shift=values.view(1, 8, 1, 1)),
        between("frozen batch norm", lambda net, x: net.norm(x), norm=torchvision.ops.FrozenBatchNorm2d(8)),
        between("frozen batch norm after activation", lambda net, x: net.norm(F.relu(x)),
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
