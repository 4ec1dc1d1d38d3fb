"""Taylor terms against plain oracles: one image at a time through masked networks, and finite differences."""

import torch
from small_nets import conv
from torch import Tensor, nn

from splitters.data import ImageSet, Normalisation
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.taylor import taylor_terms
from splitters.networks.masked_network import masked_network
from splitters.testing import tiny_task


def _log_odds(logits: Tensor, label: int) -> Tensor:
    others = torch.cat([logits[:label], logits[label + 1 :]])
    return logits[label] - others.exp().sum().log()


def _oracle(graph: ChannelGraph, images: ImageSet) -> Tensor:
    """Returns the mean over each class's images of abs(d log-odds / d bit), one image at a time."""
    network = masked_network(graph)
    found: dict[int, list[Tensor]] = {}
    for image, label in zip(images.images, images.labels.tolist(), strict=True):
        bits = torch.ones(1, graph.layout.n_channels, requires_grad=True)
        _log_odds(network(images.normalisation(image[None]), bits)[0, 0], label).backward()
        assert bits.grad is not None
        found.setdefault(label, []).append(bits.grad[0].abs())
    return torch.stack([torch.stack(found[label]).mean(0) for label in range(images.n_classes)])


def test_terms_are_the_mean_absolute_gradients_of_the_mask_bits() -> None:
    task = tiny_task()
    graph = task.trace()
    expected = _oracle(graph, task.train)
    assert torch.allclose(taylor_terms(graph, task.train, batch_size=16), expected, rtol=1e-4, atol=1e-6)


def test_a_term_is_the_slope_of_the_log_odds_as_a_channel_fades() -> None:
    task = tiny_task()
    graph = task.trace()
    image = task.train.subset(torch.tensor([4]))
    label = int(image.labels[0])
    terms = taylor_terms(graph, image)[label]
    network = masked_network(graph).double()  # and the graph's own network with it
    pixels = image.normalisation(image.images).double()
    for channel in (0, 7, 13):
        ends = []
        for bit in (1 - 1e-4, 1 + 1e-4):
            bits = torch.ones(1, graph.layout.n_channels, dtype=torch.float64)
            bits[0, channel] = bit
            ends.append(float(_log_odds(network(pixels, bits)[0, 0].detach(), label)))
        assert abs(abs(ends[1] - ends[0]) / 2e-4 - float(terms[channel])) < 1e-4


class _WithConstants(nn.Module):
    """Reads the first layer's channels twice, once beside channels that no module may drop."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, 4)
        self.second = conv(7, 5)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(torch.cat([self.first(x).relu(), x], 1)).relu().mean((2, 3)))


def test_channels_beside_ones_that_are_always_kept() -> None:
    torch.manual_seed(0)
    data = torch.randint(0, 256, (8, 3, 6, 6), dtype=torch.uint8)
    images = ImageSet(data, torch.arange(8) % 2, ("a", "b"), Normalisation((0.5,) * 3, (0.25,) * 3))
    graph = ChannelGraph.trace(_WithConstants().eval(), images.normalisation(data[:1]))
    assert torch.allclose(taylor_terms(graph, images), _oracle(graph, images), rtol=1e-4, atol=1e-6)
