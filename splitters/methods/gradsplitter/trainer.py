"""The two kinds of training phases of GradSplitter: masks together with heads, and heads alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter.binarise import binarise, kept_channels
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.kernel_choice.kernel_multiples import round_up
from splitters.methods.protocol import SplitTask
from splitters.methods.scoring.head_training import ModuleLogits, shuffled_batches, train_heads
from splitters.modules.score_kinds import HeadScores
from splitters.networks.inference import ModuleNetworks, Tick, no_tick
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks
from splitters.settings import Length


class Trainer:
    """Trains real masks and heads, phase by phase, with a new optimiser for each phase.

    Args:
        task: The base model and the images.
        graph: The base model's channel graph, on the task's device.
        settings: The configuration.
        generator: Draws the heads' weights and the order of images.
        tick: Called after every batch and step of head phases; mask phases yield instead.
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
        """Return newly initialised heads for all modules."""
        heads = HeadScores.initialised(
            self.n_modules, self.n_modules, self.settings.head_width, generator=self.generator
        )
        return heads.map(lambda tensor: tensor.to(self.images.images.device))

    def kernel_masks(self) -> KernelMasks:
        """Return the binarised masks, rounded up as the settings want it."""
        bits = kept_channels(self.layout, self.masks)
        return KernelMasks(self.layout, round_up(self.layout, bits, self.masks, self.settings.round_to).cpu())

    def steps_of(self, length: Length) -> int:
        """Return a phase's length in steps."""
        return length.steps(samples=len(self.images), batch_size=self.settings.batch_size)

    def mask_phase(self) -> Iterator[int]:
        """Train masks and heads; yield the number of steps done after each step."""
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
            loss = F.cross_entropy(scores.T, labels) + self.settings.alpha * self._sparsity(bits)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            self.loss = float(loss.detach())
            self.masks = masks.detach()
            self.heads = heads.map(torch.Tensor.detach)
            yield step
        self._check_finite()

    def _sparsity(self, bits: Float[Tensor, "module channel"]) -> Float[Tensor, ""]:
        """Return the share of kept channels, or of the kernels that may be dropped."""
        if self.settings.sparsity == "channels":
            return bits.mean()
        kernels = self.layout.kernels_per_channel.to(bits)
        return (bits @ kernels).mean() / kernels.sum()

    def head_phase(self, length: Length, learning_rate: float, only: Bool[Tensor, " module"] | None = None) -> None:
        """Train heads alone, on the logits of the current modules.

        Args:
            length: The length of the phase.
            learning_rate: Adam's learning rate.
            only: The modules whose heads are trained; None for all.
        """
        batches = list(self._batches(self.steps_of(length)))
        if not batches:
            return
        used, positions = torch.unique(torch.cat(batches), return_inverse=True)
        networks = ModuleNetworks.of(self.graph, self.kernel_masks(), tick=self.tick)
        self.heads, self.loss = train_heads(
            self.heads,
            ModuleLogits(networks, self.images.subset(used), tick=self.tick),
            positions.split([len(batch) for batch in batches]),
            learning_rate=learning_rate,
            only=only,
        )
        self._check_finite()

    def _batches(self, steps: int) -> Iterator[Int64[Tensor, " batch"]]:
        """Yield shuffled batches of indices, epoch after epoch."""
        return shuffled_batches(
            len(self.images),
            batch_size=self.settings.batch_size,
            steps=steps,
            generator=self.generator,
            device=self.images.images.device,
        )

    def _check_finite(self) -> None:
        if not math.isfinite(self.loss) or not bool(torch.isfinite(self.masks).all()):
            raise SplitFailedError(
                f"the loss became {self.loss}; lower the learning rates "
                f"(masks {self.settings.mask_learning_rate}, heads {self.settings.head_learning_rate})."
            )
