"""Importance against a plain oracle: one image at a time, through hooks on the original model."""

import pytest
import torch
from exactness import images, shaken
from small_nets import conv
from torch import Tensor, nn

from splitters.data import ImageSet, Normalisation
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.importance import channel_importance

_NORMALISATION = Normalisation((0.5,) * 3, (0.25,) * 3)


class _Tied(nn.Module):
    """Two tied convolutions whose sum two layers read, and a third one behind a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, 4)
        self.second = conv(4, 4)
        self.third = conv(4, 5)
        self.fc = nn.Linear(5 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).sigmoid()
        x = nn.functional.max_pool2d(x + self.second(x), 2)
        return self.fc(self.third(x).relu().flatten(1))


def _images(count: int = 24) -> ImageSet:
    generator = torch.Generator().manual_seed(3)
    data = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return ImageSet(data, labels, ("a", "b", "c"), _NORMALISATION)


def _oracle(model: _Tied, image_set: ImageSet, confidence: float) -> dict[int, list[Tensor]]:
    """Returns, per class, the norms of all 9 channels for each image that counts, one image at a time."""
    read: dict[str, Tensor] = {}
    handles = [
        getattr(model, name).register_forward_pre_hook(lambda module, args, name=name: read.update({name: args[0][0]}))
        for name in ("second", "third", "fc")
    ]
    found: dict[int, list[Tensor]] = {}
    for image, label in zip(image_set.images, image_set.labels.tolist(), strict=True):
        with torch.no_grad():
            certain = model(_NORMALISATION(image[None])).softmax(1)[0, label] >= confidence
        tied = read["third"].abs().sum((1, 2))  # the sum; what "second" reads is the first layer's map alone
        behind = read["fc"].view(5, 16).abs().sum(1)
        if certain:
            found.setdefault(label, []).append(torch.cat([tied, behind]))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("batch_size", [5, 256])
def test_importance_is_the_mean_norm_over_recognised_images(batch_size: int) -> None:
    model, image_set = shaken(_Tied()), _images()
    graph = ChannelGraph.trace(model, images(1, 3, 8, 8))
    found = channel_importance(graph, image_set, confidence=0.3, batch_size=batch_size)
    expected = _oracle(model, image_set, 0.3)
    everything = _oracle(model, image_set, 0.0)
    for label in range(3):
        norms = expected.get(label) or everything[label]
        assert torch.allclose(found.norms[label], torch.stack(norms).mean(0), rtol=1e-4)
    assert len(found.warnings) == sum(label not in expected for label in range(3))


def test_a_class_that_is_never_recognised_counts_all_its_images_and_is_named() -> None:
    model, image_set = shaken(_Tied()), _images()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(torch.tensor([0.0, 20.0, 0.0]))
    graph = ChannelGraph.trace(model, images(1, 3, 8, 8))
    found = channel_importance(graph, image_set)
    everything = _oracle(model, image_set, 0.0)
    for label in range(3):
        assert torch.allclose(found.norms[label], torch.stack(everything[label]).mean(0), rtol=1e-4)
    assert [warning.split("'")[1] for warning in found.warnings] == ["a", "c"]
    assert "0.9" in found.warnings[0]
