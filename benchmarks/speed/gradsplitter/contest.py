"""Our trainer and the plain one in the same state: base model, masks, heads, and order of images."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from benchmarks.models.papers.simcnn import SimCNN
from benchmarks.speed.gradsplitter.plain import PlainGradSplitter
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer
from splitters.methods.protocol import SplitTask
from splitters.methods.scoring.head_training import shuffled_batches
from splitters.modules.score_kinds import HeadScores

_SIZE = 32


@dataclass(frozen=True)
class Contest:
    """Both trainers of one task.

    Args:
        task: The base model and the images.
        graph: The base model's channel graph.
        ours: Our trainer.
        plain: The plain one.
        order: Draws the plain one's batches, which are ours.
    """

    task: SplitTask
    graph: ChannelGraph
    ours: Trainer
    plain: PlainGradSplitter
    order: torch.Generator

    @classmethod
    def of(cls, task: SplitTask, settings: GradSplitterSettings, *, masks: Tensor | None = None) -> Contest:
        """Return both trainers before their first step.

        Args:
            task: A task whose base model is a SimCNN.
            settings: Ours; alpha is the plain one's too.
            masks: Real masks to begin with; all are 1 otherwise.
        """
        task = task.on_device()
        graph = task.trace()
        graph.network.to(memory_format=torch.channels_last)
        ours = Trainer(task, graph, settings, torch.Generator().manual_seed(task.seed))
        if masks is not None:
            ours.masks = masks.to(task.device)
        model = copy.deepcopy(task.model).to(task.device).eval().requires_grad_(False)
        if not isinstance(model, SimCNN):
            raise TypeError(f"the plain reference runs SimCNNs, not a {type(model).__name__}.")
        plain = PlainGradSplitter(model, ours.masks, plain_heads(ours.scores), alpha=settings.alpha)
        order = torch.Generator()
        order.set_state(ours.generator.get_state())
        return cls(task, graph, ours, plain, order)

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the plain trainer's images and labels: those of the steps that ours takes next."""
        images = self.task.train
        shuffled = shuffled_batches(
            len(images),
            batch_size=self.ours.settings.batch_size,
            steps=steps,
            generator=self.order,
            device=self.task.device,
        )
        for indices in shuffled:
            yield images.normalisation(images.images[indices]).contiguous(), images.labels[indices]

    def check(self) -> None:
        """Check that both trainers have come to the same loss and the same masks."""
        # The modules' sums have other orders, which Adam amplifies from step to step.
        self.check_loss(rtol=1e-3)
        torch.testing.assert_close(self.ours.masks, self.plain.all_masks, rtol=0, atol=5e-3)

    def check_loss(self, *, rtol: float) -> None:
        """Check that both trainers have come to the same loss."""
        torch.testing.assert_close(float(self.ours.loss), self.plain.loss, rtol=rtol, atol=1e-4)


def plain_heads(scores: HeadScores) -> list[nn.Module]:
    """Return our heads as plain ones."""
    heads: list[nn.Module] = []
    parts = zip(scores.hidden_weight, scores.hidden_bias, scores.output_weight, scores.output_bias, strict=True)
    for hidden_weight, hidden_bias, output_weight, output_bias in parts:
        hidden, output = nn.Linear(*hidden_weight.shape), nn.Linear(*output_weight.shape)
        with torch.no_grad():
            hidden.weight.copy_(hidden_weight.T)
            hidden.bias.copy_(hidden_bias.flatten())
            output.weight.copy_(output_weight.T)
            output.bias.copy_(output_bias.flatten())
        heads.append(nn.Sequential(nn.ReLU(), hidden, nn.ReLU(), output, nn.Sigmoid()).to(hidden_weight.device))
    return heads


def synthetic_task(*, width: float, images: int, classes: int = 10, device: str = "cpu") -> SplitTask:
    """Return a task of a SimCNN with random weights and random images of CIFAR-10's size."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, _SIZE, _SIZE), dtype=torch.uint8, generator=generator)
    names = tuple(map(str, range(classes)))
    train = ImageSet(pixels, torch.arange(images) % classes, names, IMAGENET)
    spec = ModelSpec(name="simcnn", settings={"width": width})
    model = build_model(spec, n_classes=classes, input_shape=train.input_shape, seed=0)
    return SplitTask(model.eval(), train, train, seed=0, device=torch.device(device))


def layer_flops(model: SimCNN) -> tuple[list[int], int]:
    """Return the operations per image of each convolution, and of all linear layers together."""
    side, convolutions = _SIZE, []
    for layer in model.features.modules():
        if isinstance(layer, nn.Conv2d):
            convolutions.append(2 * layer.weight.numel() * side * side)
        elif isinstance(layer, nn.MaxPool2d):
            side //= 2
    linear = [layer for layer in model.classifier if isinstance(layer, nn.Linear)]
    return convolutions, sum(2 * layer.weight.numel() for layer in linear)
