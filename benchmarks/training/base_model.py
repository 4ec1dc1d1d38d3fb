"""Training of base models: the papers' recipe and a short one; resumable, reproducible, and cached."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.numeric_environment import ComputeEnvironment, numeric_environment
from benchmarks.cells import TRAINING_VERSION, ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.models import build_model, code_fingerprint
from benchmarks.models.inference import evaluate_accuracy
from benchmarks.models.memory_order import in_fastest_order
from benchmarks.seeding import derive_seed, seeded
from benchmarks.training.augmentation import Augmentation
from benchmarks.training.dropout import switch_off_dropout
from benchmarks.training.learning_rate import learning_rate
from splitters.data import ImageSet
from splitters.data.transfer import send
from splitters.errors import SplitbenchError
from splitters.files.network_description import check_storable
from splitters.files.weights_hash import weights_hash as weights_hash
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import Checkpoint, CheckpointState, Progress, ProgressCallback, ignore_progress
from splitters.networks.execution.compilation import compiled
from splitters.networks.execution.precision import run_network
from splitters.tensor_names import strip_prefix, with_prefix

_STAGE = "train"


class TrainingError(SplitbenchError):
    """A base model could not be trained."""


@dataclass(frozen=True)
class TrainedModel:
    """A base model, ready to be split; the benchmark trained it, or it is a given model.

    Args:
        model: The network in eval mode, frozen, in its fastest memory order, on the requested device.
        weights_hash: Its ``weights_hash``.
        select_accuracy: Its accuracy on ``select``.
        epochs: Epochs of the training.
        best_epoch: The epoch, counted from 1, whose weights were kept.
        seconds: Wall time of the training.
        reused: Whether it came from the cache.
        peak_memory_bytes: Peak memory of the training.
        computed_on: Where it was trained.
        source: Where its weights came from if it is a given model: a file, or the name of published weights.
    """

    model: nn.Module
    weights_hash: str
    select_accuracy: float
    epochs: int
    best_epoch: int
    seconds: float
    reused: bool
    peak_memory_bytes: int | None
    computed_on: ComputeEnvironment | None = None
    source: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether it was trained elsewhere."""
        return self.source is not None


def train_base_model(
    spec: ModelSpec,
    training: TrainingSpec,
    roles: Roles,
    *,
    dataset_hash: str,
    flips: bool,
    seed: int,
    threads: int,
    cache: ArtifactCache,
    device: str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> TrainedModel:
    """Train a base model on ``train``, and keep the weights of the last epoch, or of the best one on ``select``.

    Of equally good epochs, the later one is kept.

    Weights are cached under a hash of everything that determines them: the network, the recipe, the images of ``train``
    and ``select``, seed, threads, torch and processor; test images are never read. An interrupted training resumes from
    its checkpoint's last epoch, and ends with the same weights as an uninterrupted one.

    Args:
        spec: The network.
        training: The recipe.
        roles: The images; only ``train`` and ``select`` are read.
        dataset_hash: The data set's content hash, recorded in the cached file.
        flips: Whether to flip images at random, if the recipe leaves it to the data set.
        seed: Seeds initial weights, order, augmentation and dropout.
        threads: torch's number of CPU threads, which the caller sets.
        cache: The cache of weights.
        device: The device to train on.
        progress: Called at every step. It may raise, which stops the training.

    Raises:
        ConfigurationError: If the network cannot be built for these images.
        GraphError: If the network cannot be split, or no file could hold its modules; it is not trained then.
        TrainingError: If the loss becomes infinite or NaN.
    """
    resolved = training if training.flip is not None else training.model_copy(update={"flip": flips})
    train, select = roles.train, roles.select
    model = build_model(
        spec,
        n_classes=train.n_classes,
        input_shape=train.input_shape,
        seed=derive_seed(seed, "base model"),
    )
    if not resolved.dropout:
        switch_off_dropout(model, train.input_shape, name=spec.name)
    key = {
        "version": TRAINING_VERSION,
        "model": spec.model_dump(mode="json", exclude={"code"}),
        "code": code_fingerprint(spec),
        "initial_weights": weights_hash(model),
        "training": resolved.model_dump(mode="json"),
        "train": train.content_hash,
        "select": select.content_hash,
        "seed": seed,
        "threads": threads,
        **numeric_environment(device),
    }
    model = in_fastest_order(model, train.input_shape).to(device)

    def make(checkpoint: Checkpoint) -> CheckpointState:
        check_storable(ChannelGraph.trace(model, train.normalisation(train.images[:2]).to(device)))
        run = _TrainingRun(model, resolved, train.to(device), select.to(device), seed, progress)
        return run.finish(checkpoint, dataset_hash=dataset_hash)

    artifact = cache.get_or_make("weights", key, make, device=device, progress=progress)
    model.load_state_dict(dict(artifact.state.tensors))
    model.eval().requires_grad_(False)
    best = _BestEpoch(**cast(dict[str, Any], artifact.state.values["best"]))
    return TrainedModel(
        model=model,
        weights_hash=weights_hash(model),
        select_accuracy=best.accuracy,
        epochs=resolved.epochs,
        best_epoch=best.epoch,
        seconds=artifact.seconds,
        reused=artifact.reused,
        peak_memory_bytes=artifact.peak_memory_bytes,
        computed_on=artifact.computed_on,
    )


@dataclass(frozen=True)
class _BestEpoch:
    epoch: int = 0
    accuracy: float = -1.0


@dataclass
class _TrainingRun:
    """A training in progress. Its checkpoint holds everything that changes from epoch to epoch."""

    model: nn.Module
    spec: TrainingSpec
    train: ImageSet
    select: ImageSet
    seed: int
    progress: ProgressCallback
    epoch: int = 0
    best: _BestEpoch = field(default_factory=_BestEpoch)
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.SGD(
            self.model.parameters(),
            lr=self.spec.learning_rate,
            momentum=self.spec.momentum,
            weight_decay=self.spec.weight_decay,
            fused=True if self.device.type == "cuda" else None,
        )
        self.trained = compiled(self.model)
        self.augmentation = Augmentation(self.spec.crop_padding, flip=bool(self.spec.flip))
        self.steps_per_epoch = sum(1 for _ in self._batches(0))

    @property
    def device(self) -> torch.device:
        return self.train.images.device

    def finish(self, checkpoint: Checkpoint, *, dataset_hash: str) -> CheckpointState:
        self._resume(checkpoint)
        while self.epoch < self.spec.epochs:
            loss = self._train_one_epoch()
            self.epoch += 1
            accuracy = evaluate_accuracy(self.model, self.select)
            if accuracy >= self.best.accuracy or self.spec.keep == "last":
                self.best = _BestEpoch(self.epoch, accuracy)
                self.best_state = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            checkpoint.save(self._state())
            self._report(self.epoch * self.steps_per_epoch, {"loss": loss, "accuracy": accuracy})
        return CheckpointState(self.best_state, {"best": asdict(self.best), "dataset_hash": dataset_hash})

    def _train_one_epoch(self) -> float:
        """Run one epoch and return the mean loss of its steps, none of which waits for the device."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        with seeded(derive_seed(self.seed, "dropout", self.epoch), device=self.device):
            for step, plan in enumerate(self._plans(), start=self.epoch * self.steps_per_epoch):
                total += self._step(plan, step)
                self._report(step + 1, {})
        loss = float(total) / self.steps_per_epoch
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self.epoch + 1}; lower training.learning_rate, which is "
                f"{self.spec.learning_rate}."
            )
        return loss

    def _plans(self) -> Sequence[Int64[Tensor, "batch 4"]]:
        """Return, for each step of this epoch, its images' indices and how they are augmented."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "augmentation", self.epoch))
        batches = list(self._batches(self.epoch))
        draws = [self.augmentation.draw(len(batch), generator) for batch in batches]
        plan = torch.cat([torch.cat(batches)[:, None], torch.cat(draws)], dim=1)
        plans: Sequence[Tensor] = send(plan, self.device).split([len(batch) for batch in batches])
        return plans

    def _step(self, plan: Int64[Tensor, "batch 4"], step: int) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.spec, step, steps_per_epoch=self.steps_per_epoch)
        indices, draws = plan[:, 0], plan[:, 1:]
        images = self.augmentation(self.train.images[indices], draws)
        logits = run_network(self.trained, self.train.normalise(images))
        loss = functional.cross_entropy(logits, self.train.labels[indices])
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the epoch's batches. A last batch of one image is dropped, since batch normalisation needs two."""
        order = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        for batch in torch.split(torch.randperm(len(self.train), generator=order), self.spec.batch_size):
            if len(batch) > 1 or self.spec.batch_size == 1:
                yield batch

    def _report(self, step: int, metrics: dict[str, float]) -> None:
        self.progress(Progress(_STAGE, step, self.spec.epochs * self.steps_per_epoch, metrics))

    def _state(self) -> CheckpointState:
        # Training changes weights and momenta in place, and a checkpoint may be written later, when the work stops.
        weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        momenta = {
            name: momentum.clone()
            for name, parameter in self.model.named_parameters()
            if (momentum := self.optimiser.state[parameter].get("momentum_buffer")) is not None
        }
        tensors = {
            **with_prefix(weights, "model."),
            **with_prefix(self.best_state, "best."),
            **with_prefix(momenta, "momentum."),
        }
        return CheckpointState(tensors, {"epoch": self.epoch, "best": asdict(self.best)})

    def _resume(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return
        self.epoch = int(cast(int, state.values["epoch"]))
        self.best = _BestEpoch(**cast(dict[str, Any], state.values["best"]))
        self.best_state = {
            name: tensor.to(self.device) for name, tensor in strip_prefix(state.tensors, "best.").items()
        }
        self.model.load_state_dict(strip_prefix(state.tensors, "model."))
        momenta = strip_prefix(state.tensors, "momentum.")
        for name, parameter in self.model.named_parameters():
            if name in momenta:
                # In the parameter's memory order, which files do not keep.
                buffer = torch.empty_like(parameter).copy_(momenta[name])
                self.optimiser.state[parameter]["momentum_buffer"] = buffer.detach()
