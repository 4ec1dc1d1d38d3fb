"""Operations that mix channels in ways that the graph does not know."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small_nets.nets import Between, Case, conv, frozen


def _views_in_one_batch(net: Between, x: Tensor) -> Tensor:
    return net.other(torch.cat([x, x.flip(-1)]).relu()).view(2, -1, 8, 8, 8).sum(0)


def _masked_and_unmasked_views(net: Between, x: Tensor) -> Tensor:
    y = net.other(net.mid(x))
    return (torch.cat([y, y.flip(-1)]) + torch.cat([x, x.flip(-1)])).view(2, -1, 8, 8, 8).sum(0)


def frozen_cases() -> list[Case]:
    counted = "computes with the number of channels"
    by_position = "picks channels by their position"
    return [
        frozen("a repeat of no channel", lambda net, x: torch.cat([x, x.repeat(1, 0, 1, 1)], 1),
                "an unknown operation"),
        frozen("layer norm", lambda net, x: F.layer_norm(x, (8, 8, 8)), "mixes channels"),
        frozen("group norm over all channels", lambda net, x: net.norm(x), "its only group holds all",
                norm=nn.GroupNorm(1, 8)),
        frozen("group norm of one group", lambda net, x: F.group_norm(x, 1), "its only group holds all"),
        frozen("group norm of one group, by names", lambda net, x: F.group_norm(x, num_groups=1, weight=net.scale),
                "its only group holds all", scale=torch.linspace(0.5, 1.5, 8)),
        frozen("group norm with weights from the images",
                lambda net, x: F.group_norm(x, num_groups=4, weight=net.scale * x.size(0) / x.size(0)),
                "its weights depend on the images", scale=torch.linspace(0.5, 1.5, 8)),
        frozen("padded channels of sequences",
                lambda net, x: F.pad(x.flatten(2), (0, 0, 2, 2), "constant").unflatten(2, (8, 8)),
                "changes the number of channels", reads=12),
        frozen("softmax over channels", lambda net, x: torch.softmax(x, 1), "mixes channels"),
        frozen("F.softmax over channels", lambda net, x: F.softmax(x, dim=1), "mixes channels"),
        frozen("unknown function", lambda net, x: torch.frac(x), "unknown operation"),
        frozen("unknown method", lambda net, x: x.trunc(), "unknown operation"),
        frozen("unknown module", lambda net, x: net.act(x), "unknown operation", act=nn.CrossMapLRN2d(3)),
        frozen("channels by a tensor of numbers", lambda net, x: x.index_select(1, net.order), by_position,
                order=torch.arange(8).flip(0)),
        frozen("the largest channel's number", lambda net, x: x * x.argmax(1, keepdim=True), "mixes channels"),
        frozen("the largest values", lambda net, x: (
                x.flatten(2).topk(3, -1)[0].mean(-1) + x.flatten(2).sort(-1).values[:, :, 0]
                + x.flatten(2).median(-1)[0])[..., None, None], "mixes channels", "mixes channels", "mixes channels"),
        frozen("distances", lambda net, x: x + torch.cdist(x, x) + F.cosine_similarity(x, -x)[:, None],
                "mixes channels", "meets values", "mixes channels"),
        frozen("places given by channels", lambda net, x: F.grid_sample(x, x[..., :2].tanh(), align_corners=False),
                "is where each image is sampled"),
        Case("views in one batch", lambda: Between(_views_in_one_batch, other=conv(8, 8)),
             {"conv": 0, "last": 6, "other": 0},
             frozen=("sums over the channels", "do not lie along the first axis, in their order")),
        Case("masked and unmasked views in one batch",
             lambda: Between(_masked_and_unmasked_views, other=conv(5, 8), mid=conv(8, 5)),
             {"conv": 0, "last": 6, "other": 0, "mid": 5},
             frozen=("sums over the channels", *["do not lie along the first axis, in their order"] * 2)),
        frozen("rolled channels", lambda net, x: x.roll(1, 1), "mixes channels"),
        frozen("max over channels", lambda net, x: x.max(1, keepdim=True)[0], "sums over the channels", reads=1),
        frozen("images that move to another axis",
                lambda net, x: net.mix(x.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).unsqueeze(-1),
                "do not lie along the first axis", mix=nn.Linear(8, 8)),
        frozen("sum over channels", lambda net, x: x.sum(1, keepdim=True), "sums over the channels", reads=1),
        frozen("a channel by number", lambda net, x: x[:, 5].unsqueeze(1), by_position, reads=1),
        frozen("every second channel", lambda net, x: x[:, ::2], by_position, reads=4),
        frozen("a list of channels", lambda net, x: x[:, [1, 0, 3, 2, 5, 4, 7, 6]], by_position),
        frozen("the number of values of a chunk", lambda net, x: x / x.chunk(2, 3)[0].numel() * len(x), counted),
        frozen("a difference of the channel count", lambda net, x: x.view(x.size(0), x.size(1) - 4, -1, 8, 8)
                .flatten(1, 2), counted),
        frozen("channels padded by their mirror image", lambda net, x: F.pad(x.flatten(2), (0, 0, 2, 2), "reflect")
                .view(-1, 12, 8, 8), "changes the number of channels", reads=12),
        frozen("spatial attention by a mean over channels", lambda net, x: x * torch.sigmoid(x.mean(1, keepdim=True)),
                "sums over the channels"),
        frozen("rounded quotient", lambda net, x: torch.div(x, 0.1, rounding_mode="floor"), "unknown operation"),
    ]  # fmt: skip
