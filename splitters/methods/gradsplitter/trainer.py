"""The two kinds of phases in which GradSplitter trains: masks with heads, and heads alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter.binarise import binarise, kept
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.protocol import SplitTask
from splitters.modules.scores import HeadScores
from splitters.networks.inference import ModuleNetworks, Tick, no_tick
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks
from splitters.settings import Length

_LOGITS_BYTES = 1 << 30
"""Head phases keep all modules' logits up to this size, and recompute them batch by batch beyond."""


class Trainer:
    """Real masks, heads, and the phases that train them. The optimiser is made anew in every phase.

    Args:
        task: The base model and the images.
        graph: The base model's channel graph, on the task's device.
        settings: The configuration.
        generator: Draws heads and the order of images.
        tick: Called after every batch and step of head phases; mask phases yield after theirs.
    """

    def __init__(
        self,
        task: SplitTask,
        graph: ChannelGraph,
        settings: GradSplitterSettings,
        generator: torch.Generator,
        *,
        tick: Tick = no_tick,
    ) -> None:
        self.graph = graph
        self.layout = graph.layout
        self.settings = settings
        self.images = task.train
        self.generator = generator
        self.tick = tick
        self.n_modules = task.n_classes
        self.masks: Float[Tensor, "module channel"] = torch.ones(
            self.n_modules, self.layout.n_channels, device=task.device
        )
        self.heads = self.new_heads()
        self.loss = math.nan
        self._network = masked_network(graph).to(task.device)

    def new_heads(self) -> HeadScores:
        """Returns freshly drawn heads for all modules."""
        heads = HeadScores.initialised(
            self.n_modules, self.n_modules, self.settings.head_width, generator=self.generator
        )
        return heads.map(lambda tensor: tensor.to(self.images.images.device))

    def kernel_masks(self) -> KernelMasks:
        """Returns the bits that the real masks stand for."""
        return KernelMasks(self.layout, kept(self.layout, self.masks).cpu())

    def steps_of(self, length: Length) -> int:
        """Returns a phase's length in steps."""
        return length.steps(samples=len(self.images), batch_size=self.settings.batch_size)

    def mask_phase(self) -> Iterator[int]:
        """Trains masks and heads; yields the number of steps done after each."""
        masks = self.masks.clone().requires_grad_()
        heads = self.heads.map(lambda tensor: tensor.clone().requires_grad_())
        optimiser = torch.optim.Adam(
            [
                {"params": [masks], "lr": self.settings.mask_learning_rate},
                {"params": list(heads.tensors().values()), "lr": self.settings.head_learning_rate},
            ]
        )
        for step, indices in enumerate(self._batches(self.steps_of(self.settings.mask_phase)), start=1):
            images, labels = self.images.batch(indices)
            bits = binarise(self.layout, masks)
            scores = heads(self._network(images, bits))
            loss = F.cross_entropy(scores.T, labels) + self.settings.alpha * bits.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            self.loss = float(loss.detach())
            self.masks = masks.detach()
            self.heads = heads.map(torch.Tensor.detach)
            yield step
        self._check_finite()

    def head_phase(self, length: Length, learning_rate: float, only: Bool[Tensor, " module"] | None = None) -> None:
        """Trains heads on the logits of the modules as they are.

        Args:
            length: How long.
            learning_rate: Adam's rate.
            only: The modules whose heads are trained; None trains all.
        """
        batches = list(self._batches(self.steps_of(length)))
        if not batches:
            return
        heads = self.heads.map(lambda tensor: tensor.clone().requires_grad_())
        optimiser = torch.optim.Adam(heads.tensors().values(), lr=learning_rate)
        for indices, logits in self._logits_of(batches):
            loss = F.cross_entropy(heads(logits).T, self.images.labels[indices])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if only is not None:
                # A gradient of zero leaves a parameter of a fresh Adam exactly as it is.
                for parameter in heads.tensors().values():
                    if parameter.grad is not None:
                        parameter.grad[~only] = 0
            optimiser.step()
            self.loss = float(loss.detach())
            self.tick()
        self.heads = heads.map(torch.Tensor.detach)
        self._check_finite()

    def _logits_of(self, batches: list[Tensor]) -> Iterator[tuple[Tensor, Float[Tensor, "module batch class"]]]:
        """Yields each batch with all modules' logits, which do not change while heads alone are trained."""
        networks = ModuleNetworks.of(self.graph, self.kernel_masks(), tick=self.tick)
        used, places = torch.unique(torch.cat(batches), return_inverse=True)
        if used.numel() * self.n_modules**2 * 4 <= _LOGITS_BYTES:
            logits = networks.logits(self.images.subset(used), tick=self.tick)
            for indices, place in zip(batches, places.split([len(batch) for batch in batches]), strict=True):
                yield indices, logits[:, place]
        else:
            for indices in batches:
                yield indices, networks.logits(self.images.subset(indices), tick=self.tick)

    def _batches(self, steps: int) -> Iterator[Int64[Tensor, " batch"]]:
        """Yields shuffled batches of indices, epoch after epoch, until there were enough."""
        done, device = 0, self.images.images.device
        while done < steps:
            order = torch.randperm(len(self.images), generator=self.generator)
            for indices in order.split(self.settings.batch_size)[: steps - done]:
                yield indices.to(device)
                done += 1

    def _check_finite(self) -> None:
        if not math.isfinite(self.loss) or not bool(torch.isfinite(self.masks).all()):
            raise SplitFailedError(
                f"the loss became {self.loss}; lower the learning rates "
                f"(masks {self.settings.mask_learning_rate}, heads {self.settings.head_learning_rate})."
            )
