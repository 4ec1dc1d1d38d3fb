"""Channels moved, cut and joined, shapes read and computed, and views with literal sizes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small_nets.nets import Between, Case, Forward, between, conv, tied


def rearrangements() -> list[Case]:
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
        fours("softmax in pairs of channels", lambda net, x: x.view(-1, 4, 2, 8, 8).softmax(2).flatten(1, 2), 8, 4),
        fours("halves normalised", lambda net, x: F.normalize(x.unflatten(1, (2, 4)), dim=1).flatten(1, 2), 8, 4),
        fours("gated linear unit", lambda net, x: net.gate(x), 4, 4, gate=nn.GLU(1)),
    ]


def shapes() -> list[Case]:
    def shuffle(sizes: Callable[[Tensor], tuple[object, ...]], back: Callable[[Tensor], tuple[object, ...]]) -> Forward:
        return lambda net, x: x.view(sizes(x)).transpose(1, 2).contiguous().view(back(x))

    whole: dict[str, Forward] = {
        "cat with itself, sliced": lambda net, x: torch.cat([x[:, 4:], x[:, :4]], dim=1),
        "a root of the channel count": lambda net, x: x * x.size(1) ** -0.5 + x / x.size(1) - (1 / x.size(1)) * x,
        "the number of values of an image": lambda net, x: (
            x.view(-1, x[0].numel()).view(x.size(0), -1, x[0, 0].nelement()).view(x.shape)
        ),
        "the sizes of an image": lambda net, x: (
            x.reshape(-1, x[0].shape[0] * x[0].size(1) * x[0].shape[-1]).view(len(x), x[0].view(-1).shape[0])
            .view(-1, *x[0].size())
        ),
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
        "movedim": lambda net, x: torch.moveaxis(x.movedim(destination=(1, 2), source=(2, 3)).relu(), -1, 1).mT,
        "tensor_split and hstack": lambda net, x: torch.hstack(x.tensor_split(3, 1)[::-1]),
        "rows by number": lambda net, x: x.select(3, 0)[..., None] + x.mT.adjoint().select(index=1, dim=-1)[..., None],
        "swapped axes": lambda net, x: x.swapdims(2, 3),
        "unbound rows": lambda net, x: torch.stack(x.unbind(2)[::-1], -1),
        "new tensors of its size": lambda net, x: (
            x.mul(2) - x.new_ones(x.shape) * torch.zeros(x.size()) + x.new_full((x.size(0), 8, 8, 8), 0.3)
            + torch.full((x.size(0), 8, 8, 8), 0.2) + torch.full_like(x, 0.1)
            + x.new(x.size(0), 8, 8, 8).fill_(0.4) + torch.FloatTensor(x.size(0), 8, 8, 8).zero_()
        ),
        "coordinates as another channel": lambda net, x: x + 0 * torch.cat(
            [x, torch.linspace(-1, 1, x.size(2)).view(1, 1, -1, 1).expand(x.size(0), 1, -1, x.size(3))], 1)[:, :-1],
        "multiplied by height and width": lambda net, x: x.view(x.size(0), x.size(1) * x.size(2) * x.size(3)).view(
            x.size(0), -1, x.size(2), x.size(3)
        ),
    }  # fmt: skip
    by_two = dict.fromkeys(("conv",), 8) | {"last": 6}
    return [
        *[between(name, show) for name, show in whole.items()],
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


def literal_views() -> list[Case]:
    shuffled = lambda net, x: x.view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)  # noqa: E731
    return [
        between("literal channel count", lambda net, x: x.view(-1, 8, 64).mean(-1)[..., None, None]),
        between("literal size of all maps", lambda net, x: x.view(-1, 512).relu().reshape(x.size(0), 8, 8, 8)),
        between("a literal in expand", lambda net, x: x.mean((2, 3), True).expand(-1, 8, 4, 4)),
        between("literals beside an inferred size", lambda net, x: x.reshape(x.size(0), 8, -1).view(-1, 8, 8, 8)),
        between("unflatten by literals", lambda net, x: x.flatten(1).unflatten(1, (8, 8, 8))),
        Case("channel shuffle by literals", lambda: Between(shuffled), channels=4 + 6),
        tied("literal sizes of two tensors", lambda net, x: (x.view(-1, 8, 64) + net.other(x).view(-1, 8, 64))
              .view(-1, 8, 8, 8), conv(8, 8)),
    ]  # fmt: skip
