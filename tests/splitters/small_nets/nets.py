"""Frames for one operation between two convolutions, and what the graph of such a network should be."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

Forward = Callable[..., Tensor]


def _register(net: nn.Module, layers: dict[str, nn.Module | Tensor]) -> None:
    for name, layer in layers.items():
        if isinstance(layer, nn.Module):
            net.add_module(name, layer)
        elif isinstance(layer, nn.Parameter):
            net.register_parameter(name, layer)
        else:
            net.register_buffer(name, layer)


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
        _register(self, layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.last(self.show(self, self.conv(images))).mean((2, 3)))


class Whole(nn.Module):
    """A network whose whole forward is given as a function of the network and the images."""

    def __init__(self, run: Forward, **layers: nn.Module | Tensor) -> None:
        super().__init__()
        self.run = run
        _register(self, layers)

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


def between(name: str, show: Forward, reads: int = 8, **layers: nn.Module | Tensor) -> Case:
    return Case(name, lambda: Between(show, reads, **layers))


def tied(name: str, show: Forward, other: nn.Module, channels: int = 14, **layers: nn.Module) -> Case:
    """A case in which ``conv`` and ``other`` (8 kernels) share their channels."""
    return Case(
        name,
        lambda: Between(show, other=other, **layers),
        {"conv": 8, "last": 6, "other": 8},
        frozenset({frozenset({"conv", "other"})}),
        channels,
    )


def frozen(name: str, show: Forward, *reasons: str, reads: int = 8, **layers: nn.Module | Tensor) -> Case:
    """A case in which all kernels of ``conv`` freeze."""
    return Case(name, lambda: Between(show, reads, **layers), {"conv": 0, "last": 6}, frozen=reasons)
