"""Torchvision's transforms inside of a network."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms as v1
import torchvision.transforms.functional as functional
from exactness import assert_exact, images, maskable
from small_nets import Between, Whole
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as functional_v2

_MEAN, _STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


def _shown_as_three(x: Tensor) -> Tensor:
    return functional.rgb_to_grayscale(x, num_output_channels=3)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda x: functional.normalize(x, _MEAN, _STD),
        lambda x: functional.pad(x, [2]),
        lambda x: functional.resize(x, [6, 6]),
        lambda x: functional.center_crop(x, [6, 6]),
        lambda x: functional_v2.normalize(x, _MEAN, _STD),
        lambda x: functional_v2.resize(functional_v2.pad(x, [2]), [6, 6]),
        _shown_as_three,
        v1.Compose([v1.Resize((6, 6)), v1.Normalize(_MEAN, _STD)]),
        v1.Normalize(_MEAN, _STD),
        v1.Grayscale(3),
        v2.Compose([v2.Resize(6), v2.Normalize(_MEAN, _STD)]),
        v2.Normalize(_MEAN, _STD),
        v2.CenterCrop(6),
        v2.Grayscale(3),
        nn.Sequential(v2.Pad(1), v2.Normalize(_MEAN, _STD)),
    ],
)
def test_preprocessing_in_a_forward_is_traced(prepare: Callable[[Tensor], Tensor]) -> None:
    inner = Between(lambda net, x: x.relu())
    net = Whole(lambda net, x: net.inner(net.prepare(x)), inner=inner)
    net.prepare = prepare
    assert maskable(assert_exact(net, images(2, 3, 8, 8))) == {"inner.conv": 8, "inner.last": 6}


def test_transforms_are_as_before_after_tracing() -> None:
    net = Whole(lambda net, x: net.inner(functional_v2.resize(x, [6, 6])), inner=Between(lambda net, x: x))
    assert_exact(net, images(2, 3, 8, 8))
    with pytest.raises(TypeError, match="supports inputs of type"):
        functional_v2.resize(torch.fx.Graph(), [6, 6])
    assert "isinstance" not in vars(functional)
