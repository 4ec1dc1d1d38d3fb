"""Networks run in ``channels_last`` order where they can, and run at all where they cannot."""

import torch
from torch import nn

from benchmarks.models.inference import predict_logits
from benchmarks.models.memory_order import in_fastest_order
from splitters.testing import tiny_task


class Viewing(nn.Module):
    """A network as in tutorials: ``view`` reads the memory order."""

    def __init__(self, how: str, channels: int = 3) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(channels, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 4 * 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.max_pool2d(self.conv(images).relu(), 2)
        return self.fc(maps.view(maps.size(0), -1) if self.how == "view" else maps.flatten(1))


def _is_channels_last(network: Viewing) -> bool:
    weight = network.conv.weight
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_a_network_with_views_stays_in_the_default_order_and_computes_what_it_did() -> None:
    images = tiny_task().select
    for how in ("view", "flatten"):
        torch.manual_seed(0)
        network = Viewing(how).eval()
        before = network(images.normalise(images.images).contiguous())
        state = torch.get_rng_state()
        assert in_fastest_order(network, images.input_shape) is network
        assert torch.equal(torch.get_rng_state(), state)
        assert _is_channels_last(network) == (how == "flatten")
        torch.testing.assert_close(predict_logits(network, images), before)


def test_a_network_with_views_takes_grey_images_whose_order_is_ambiguous() -> None:
    network = in_fastest_order(Viewing("view", channels=1).eval(), (1, 8, 8))
    images = torch.rand(5, 1, 8, 8)
    same = images.to(memory_format=torch.channels_last)
    assert same.is_contiguous()
    torch.testing.assert_close(network(same), network(images))
