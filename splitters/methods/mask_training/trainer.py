"""The trainer of real masks, together with what a method learns beside them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.kernel_multiples import round_up
from splitters.methods.mask_training.binarise import binarise, kept_channels
from splitters.methods.mask_training.settings import MaskTrainingSettings
from splitters.methods.protocol import SplitTask
from splitters.methods.scoring.adam import adam
from splitters.methods.scoring.head_training import shuffled_batches
from splitters.modules.scores import Scores
from splitters.networks.execution.module_chunks import ChunkedNetwork
from splitters.networks.inference import ModuleNetworks, Tick, no_tick
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks
from splitters.settings import Length

ScoresT = TypeVar("ScoresT", bound=Scores)
SettingsT = TypeVar("SettingsT", bound=MaskTrainingSettings)


class MaskTrainer(ABC, Generic[SettingsT, ScoresT]):
    """Trains real masks, scores and, where a method has them, scales, phase by phase, each with a new optimiser.

    A method chooses its scores (``new_scores``), the loss (``loss_of``), the learning rates, and what is trained
    between mask phases (``score_phase``).

    Args:
        task: The base model and the images.
        graph: The base model's channel graph, on the task's device.
        settings: The configuration.
        generator: Draws the scores' weights and the order of images.
        tick: Called after every batch and step of score phases; mask phases yield instead.
    """

    scales: Float[Tensor, "module channel"] | None = None
    """The factor of each channel where it is consumed; None for methods that learn none."""

    def __init__(
        self,
        task: SplitTask,
        graph: ChannelGraph,
        settings: SettingsT,
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
        self.scores = self.new_scores()
        memory = None if settings.memory_mb is None else settings.memory_mb << 20
        self.network = ChunkedNetwork(masked_network(graph).to(task.device), memory)
        self._loss: float | Tensor = math.nan
        self._cut: tuple[Tensor, ModuleNetworks] | None = None

    @property
    def loss(self) -> float:
        """The loss of the last step. Reading it waits for that step, so phases only write it."""
        self._loss = float(self._loss)
        return self._loss

    @loss.setter
    def loss(self, value: float | Tensor) -> None:
        self._loss = value

    @abstractmethod
    def new_scores(self) -> ScoresT:
        """Return the scores with which all modules begin, on the images' device."""

    @abstractmethod
    def loss_of(
        self, gates: Float[Tensor, "module channel"], scores: ScoresT, indices: Int64[Tensor, ...]
    ) -> Float[Tensor, ""]:
        """Return the loss on the images of one step, without the sparsity term."""

    @abstractmethod
    def score_phase(self, length: Length, learning_rate: float, only: Bool[Tensor, " module"] | None = None) -> None:
        """Train everything but masks, for all modules or only some."""

    @property
    @abstractmethod
    def score_learning_rate(self) -> float:
        """The learning rate of scores, and of scales, in mask phases."""

    def batches(self, steps: int) -> Iterator[Int64[Tensor, ...]]:
        """Yield the indices of each step's images: shuffled, epoch after epoch."""
        return shuffled_batches(
            len(self.images),
            batch_size=self.settings.batch_size,
            steps=steps,
            generator=self.generator,
            device=self.images.images.device,
        )

    def kernel_masks(self) -> KernelMasks:
        """Return the binarised masks, rounded up as the settings want it, with their scales."""
        bits = kept_channels(self.layout, self.masks)
        rounded = round_up(self.layout, bits, self.masks, self.settings.round_to).cpu()
        return KernelMasks(self.layout, rounded, None if self.scales is None else self.scales.cpu().where(rounded, 1.0))

    def take_over(self, masks: KernelMasks, scores: ScoresT) -> None:
        """Go on from other modules, whose real masks are not known: they become 1 and 0."""
        device = self.masks.device
        self.masks = masks.bits.to(self.masks)
        self.scales = None if masks.scales is None else masks.scales.to(device)
        self.scores = scores.map(lambda tensor: tensor.to(device))

    def networks(self) -> ModuleNetworks:
        """Return the current modules' networks, cut anew only if masks or scales have changed."""
        masks = self.kernel_masks()
        if self._cut is None or not torch.equal(self._cut[0], masks.gates):
            self._cut = masks.gates, ModuleNetworks.of(self.graph, masks, tick=self.tick)
        return self._cut[1]

    def steps_of(self, length: Length) -> int:
        """Return a phase's length in steps."""
        return length.steps(samples=len(self.images), batch_size=self.settings.batch_size)

    def mask_phase(self) -> Iterator[int]:
        """Train masks, scores and scales; yield the number of steps done after each step.

        No step waits for the device, which works through the steps while the next ones are queued.
        """
        self._cut = None
        masks, scores = self.masks.clone().requires_grad_(), self.trainable_scores()
        scales = None if self.scales is None else self.scales.clone().requires_grad_()
        beside = [*scores.tensors().values(), *([] if scales is None else [scales])]
        groups: list[dict[str, Any]] = [
            {"params": [masks], "lr": self.settings.mask_learning_rate},
            {"params": beside, "lr": self.score_learning_rate},
        ]
        optimiser = adam(groups, lr=self.score_learning_rate, device=masks.device)
        for step, indices in enumerate(self.batches(self.steps_of(self.settings.mask_phase)), start=1):
            bits = binarise(self.layout, masks)
            gates = bits if scales is None else bits * scales
            loss = self.loss_of(gates, scores, indices) + self.settings.alpha * self.sparsity(bits)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            self.loss = loss.detach()
            self.masks = masks.detach()
            self.scales = None if scales is None else scales.detach()
            self.scores = scores.map(torch.Tensor.detach)
            yield step
        self.check_finite()

    def sparsity(self, bits: Float[Tensor, "module channel"]) -> Float[Tensor, ""]:
        """Return the share of kept channels, which ``alpha`` weighs."""
        return bits.mean()

    def trainable_scores(self) -> ScoresT:
        """Return a copy of the scores that records gradients."""
        return self.scores.map(lambda tensor: tensor.clone().requires_grad_())

    def check_finite(self) -> None:
        """Check that training has not diverged.

        Raises:
            SplitFailedError: If loss, masks, scales or scores are not finite, with the learning rates.
        """
        trained = {f"the loss ({self.loss})": torch.tensor(self.loss), "masks": self.masks, **self.scores.tensors()}
        if self.scales is not None:
            trained["scales"] = self.scales
        diverged = [name for name, values in trained.items() if not bool(torch.isfinite(values).all())]
        if diverged:
            raise SplitFailedError(
                f"not finite: {', '.join(diverged)}; lower the learning rates "
                f"(masks {self.settings.mask_learning_rate}, {self.scores.kind} scores {self.score_learning_rate})."
            )
