"""A small CNN of one's own, as it might be found in anybody's repository."""

from torch import nn


def block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a convolution with batch norm, ReLU and pooling."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


def net(n_classes: int = 10) -> nn.Sequential:
    """Return a network for grey images."""
    return nn.Sequential(
        *block(1, 32), *block(32, 64), *block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_classes)
    )
