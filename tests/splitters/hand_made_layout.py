"""A channel layout written by hand, with every case that a traced one can hold."""

from splitters.graph.layout import ALWAYS_KEPT, ChannelGroup, ChannelLayout, Layer

# Layer "b" and "d" are tied; two kernels of "c" are always kept; "slice" of "e" is read alone.
LAYOUT = ChannelLayout(
    layers=(
        Layer("a", (0, 1, 2)),
        Layer("b", (3, 4)),
        Layer("c", (ALWAYS_KEPT, 5, 6, ALWAYS_KEPT)),
        Layer("d", (4, 3)),
        Layer("e", (7, 8, 9)),
    ),
    groups=(
        ChannelGroup((0,), (0, 1, 2)),
        ChannelGroup((1, 3), (3, 4)),
        ChannelGroup((2,), (5, 6)),
        ChannelGroup((4,), (7, 8, 9)),
    ),
    required=((0, 1, 2), (3, 4), (5, 6), (7, 8, 9), (8, 9)),
)
