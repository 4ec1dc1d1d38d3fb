"""Random sequences of the small networks' parts, with and without skip connections."""

import torch
from exactness import TOLERANCE, images, random_bits, random_scales, shaken, worst_difference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_nets import BETWEEN, Between, Case, conv
from torch import Tensor, nn

from splitters.graph.channel_graph import ChannelGraph

_BATCH = images(2, 3, 8, 8)


def _keeps_shape(case: Case) -> bool:
    net = case.make().eval()
    if not isinstance(net, Between):
        return False
    with torch.no_grad():
        return net.show(net, images(2, 8, 8, 8)).shape == (2, 8, 8, 8)


_BLOCKS = [case for case in BETWEEN if _keeps_shape(case)]


class Chain(nn.Module):
    """Blocks one after the other, each with a convolution, a skip connection, both or neither."""

    def __init__(self, blocks: list[tuple[Case, bool, bool]]) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.blocks = nn.ModuleList(case.make() for case, _, _ in blocks)
        self.convs = nn.ModuleList(conv(8, 8) if convolves else nn.Identity() for _, convolves, _ in blocks)
        self.skips = [skips for _, _, skips in blocks]
        self.fc = nn.Linear(8 * 4, 5)

    def forward(self, batch: Tensor) -> Tensor:
        x = self.stem(batch)
        for block, layer, skips in zip(self.blocks, self.convs, self.skips, strict=True):
            shown = layer(block.show(block, x * 1 if skips else x)).contiguous()
            x = shown + x if skips else shown
        return self.fc(nn.functional.adaptive_max_pool2d(torch.tanh(x), 2).flatten(1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    blocks=st.lists(st.tuples(st.sampled_from(_BLOCKS), st.booleans(), st.booleans()), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_masked_forward_equals_extracted_network(blocks: list[tuple[Case, bool, bool]], seed: int) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = shaken(Chain(blocks), seed=seed).eval()
        assume(bool(model(_BATCH).isfinite().all()))  # powers of powers overflow
    graph = ChannelGraph.trace(model, _BATCH)
    for keep in (0.7, 0.2):
        bits = random_bits(graph, 2, keep=keep, seed=seed)
        assert worst_difference(graph, _BATCH, bits, random_scales(bits, seed=seed)) < TOLERANCE
