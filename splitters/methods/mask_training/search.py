"""A search by mask training: rounds, recorded states, rescued modules, the choice, and checkpoints."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, cast

import torch
from jaxtyping import Bool
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.kernel_multiples import rounding_warnings
from splitters.methods.mask_training.recorded_states import Health, RecordedState, choose, examine
from splitters.methods.mask_training.trainer import MaskTrainer, ScoresT, SettingsT
from splitters.methods.protocol import (
    Checkpoint,
    CheckpointState,
    Progress,
    ProgressCallback,
    SplitResult,
    SplitTask,
)
from splitters.modules.scores import SCORES, Scores
from splitters.networks.inference import ClassReport, ModuleNetworks, accuracy, class_report, network_logits
from splitters.networks.masks import KernelMasks
from splitters.tensor_names import strip_prefix, with_prefix

_LOGGER = logging.getLogger(__name__)


class MaskSearch(ABC, Generic[SettingsT, ScoresT]):
    """Rounds of mask training; the end of each is recorded, and ``choose`` picks one of the recorded states.

    A method says how a search begins (``begin``), what follows a round's mask phase (``train_scores``), how a restored
    module is trained (``train_restored``), and which states it makes of recorded ones at the end (``later_states``).

    Args:
        task: The base model and the images.
        graph: The base model's channel graph.
        settings: The configuration.
        progress: Called after every batch and step.
        checkpoint: Stores the state after every round, and after every later state.

    Raises:
        SplitFailedError: If the network has no kernel that a module could drop.
    """

    first_stage = "split"
    """The stage in which ``begin`` works."""

    scores_name = "heads"
    """What warnings call the scores."""

    def __init__(
        self,
        task: SplitTask,
        graph: ChannelGraph,
        settings: SettingsT,
        progress: ProgressCallback,
        checkpoint: Checkpoint,
    ) -> None:
        if not graph.layout.n_channels:
            raise SplitFailedError(f"no kernel can be dropped: {graph.explain()}")
        self.started = time.perf_counter()
        self.task = task.on_device()
        self.graph = graph
        self.settings = settings
        self.states: list[RecordedState] = []
        self.warnings = [*self.early_warnings(), *rounding_warnings(graph.layout, settings.round_to)]
        self.rescues = 0
        self._progress = progress
        self._checkpoint = checkpoint
        self._reported = Progress(self.first_stage, 0, settings.rounds)
        for warning in self.warnings:
            _LOGGER.warning(warning)
        graph.network.to(task.device).to(memory_format=torch.channels_last)
        self.trainer = self.new_trainer(torch.Generator().manual_seed(task.seed))
        self._last_alive = _Shape.of(self.trainer)
        self._examined: tuple[ModuleNetworks, Tensor] | None = None
        answers = network_logits(graph.network, self.task.select, tick=self.tick).argmax(1)
        self.base_accuracy = accuracy(answers, self.task.select.labels)
        self._base_report: ClassReport = class_report(answers, self.task.select.labels, self.task.n_classes)

    @abstractmethod
    def new_trainer(self, generator: torch.Generator) -> MaskTrainer[SettingsT, ScoresT]:
        """Return the trainer; its ``tick`` is the search's."""

    @abstractmethod
    def begin(self) -> None:
        """Do what comes before the first round."""

    @abstractmethod
    def train_scores(self) -> None:
        """Train what is not a mask, after the mask phase of a round."""

    @abstractmethod
    def train_restored(self, dead: Bool[Tensor, " module"]) -> None:
        """Train modules that were restored with new scores."""

    def later_states(self) -> Iterable[RecordedState]:
        """Make further states after the last round, one by one; those that a checkpoint held are among ``states``."""
        return ()

    def early_warnings(self) -> tuple[str, ...]:
        """Return what the user should know before the search."""
        return ()

    def recorded_scores(self) -> Scores:
        """Return the current modules' scores in the form that the result has."""
        return self.trainer.scores

    def run(self) -> SplitResult:
        """Search, or go on where the checkpoint ends, and return the chosen modules."""
        saved = self._checkpoint.load()
        if saved is not None:
            self._restore(saved)
        else:
            self.report(self.first_stage, 0)
            self.begin()
            self._revive(self.examine(), round_number=0)
        for number in range(len(self.states) + 1, self.settings.rounds + 1):
            self._round(number)
            self._save()
        for state in self.later_states():
            self.states.append(state)
            self._save()
        return self._result()

    def tick(self) -> None:
        """Repeat the last report, so that the callback can stop the split between any two batches."""
        self._progress(self._reported)

    def report(self, stage: str, done: int, *, total: int | None = None, fraction: float = 0.0) -> None:
        """Report progress; of finished units with the last recorded state.

        Args:
            stage: What the search does.
            done: Finished units of it.
            total: All of them; by default the rounds.
            fraction: How much of the next unit is done.
        """
        metrics: dict[str, float] = {}
        is_milestone = done > 0 and fraction == 0
        if is_milestone:
            metrics = {"accuracy": self.states[-1].accuracy, "kernel_retention": self.states[-1].masks.retention}
        elif fraction:
            metrics = {"loss": self.trainer.loss, "round_done": fraction}
        total = self.settings.rounds if total is None else total
        self._reported = Progress(stage, done, total, metrics, milestone=is_milestone)
        self._progress(self._reported)

    def _result(self) -> SplitResult:
        chosen, met = choose(self.states, base_accuracy=self.base_accuracy, tolerance=self.settings.tolerance)
        warnings = list(self.warnings)
        if not met:
            warnings.append(
                f"no recorded state is within {self.settings.tolerance:g} of the base model's accuracy on select "
                f"({self.base_accuracy:.4f}); the most accurate state was chosen ({chosen.accuracy:.4f})."
            )
        lost = chosen.dead.nonzero().flatten().tolist()
        warnings += [f"the module of class {self.task.select.class_names[module]!r} is dead." for module in lost]
        return SplitResult(
            masks=chosen.masks,
            scores=chosen.scores.map(torch.Tensor.cpu),
            met_tolerance=met,
            warnings=tuple(warnings),
            history=tuple(state.facts() for state in self.states),
            facts={
                "chosen_round": float(chosen.round),
                "rescues": float(self.rescues),
                "dead_modules": float(len(lost)),
            },
        )

    def _round(self, number: int) -> None:
        self._examined = None
        total = self.trainer.steps_of(self.settings.mask_phase)
        for step in self.trainer.mask_phase():
            if step % 10 == 0 or step == total:
                self.report("split", number - 1, fraction=step / total)
            else:
                self.tick()
        self.train_scores()
        health = self._revive(self.examine(), round_number=number)
        scores = self.recorded_scores()
        if scores is not self.trainer.scores:
            health = self.examine(scores)
        self.states.append(self.state(number, scores, health))
        self.report("split", number)

    def state(self, number: int, scores: Scores, health: Health) -> RecordedState:
        """Return the current modules as the state of a round."""
        return RecordedState(
            round=number,
            seconds=time.perf_counter() - self.started,
            masks=self.trainer.kernel_masks(),
            scores=scores,
            accuracy=health.accuracy,
            f1=health.report.f1,
            dead=health.dead,
            loss=self.trainer.loss,
        )

    def examine(self, scores: Scores | None = None) -> Health:
        """Evaluate the current modules with some scores; by default with those that the search trains."""
        scores = scores or self.trainer.scores
        return examine(scores(self._select_logits()), self.task.select, self._base_report)

    def _select_logits(self) -> Tensor:
        """Return the current modules' logits of select, computed anew only if the modules have changed."""
        networks = self.trainer.networks()
        if self._examined is None or self._examined[0] is not networks:
            self._examined = networks, networks.logits(self.task.select, tick=self.tick)
        return self._examined[1]

    def _revive(self, health: Health, *, round_number: int) -> Health:
        """Restore dead modules as they last were alive, with new scores."""
        for _ in range(self.settings.rescue_attempts if self.settings.rescue else 0):
            if not health.dead.any():
                break
            dead = health.dead.to(self.trainer.masks.device)
            self._last_alive.restore(self.trainer, dead)
            self.train_restored(dead)
            self.rescues += int(dead.sum())
            names = ", ".join(repr(self.task.select.class_names[i]) for i in dead.nonzero().flatten().tolist())
            self.warnings.append(
                f"round {round_number}: dead modules were restored with new {self.scores_name}: {names}."
            )
            health = self.examine()
        self._last_alive.update(self.trainer, ~health.dead)
        return health

    # Checkpoints

    def _save(self) -> None:
        trainer, states = self.trainer, self.states
        tensors: dict[str, Tensor] = {"generator": trainer.generator.get_state()}
        tensors.update(with_prefix(_Shape.of(trainer).tensors(), "now."))
        tensors.update(with_prefix(self._last_alive.tensors(), "alive."))
        tensors.update(with_prefix(trainer.scores.tensors(), "scores."))
        tensors["states.bits"] = torch.stack([state.masks.bits for state in states])
        if states[0].masks.scales is not None:
            tensors["states.scales"] = torch.stack([cast(Tensor, state.masks.scales) for state in states])
        tensors["states.f1"] = torch.stack([state.f1 for state in states])
        tensors["states.dead"] = torch.stack([state.dead for state in states])
        for name in states[0].scores.tensors():
            tensors[f"states.scores.{name}"] = torch.stack([state.scores.tensors()[name] for state in states])
        values: dict[str, object] = {
            "states": [[s.round, s.seconds, s.accuracy, s.loss] for s in states],
            "kind": states[0].scores.kind,
            "warnings": list(self.warnings),
            "rescues": self.rescues,
        }
        # Masks and scores of dead modules are overwritten in place, so the checkpoint needs copies.
        self._checkpoint.save(CheckpointState({name: value.clone() for name, value in tensors.items()}, values))

    def _restore(self, saved: CheckpointState) -> None:
        trainer, device = self.trainer, self.task.device
        values: Mapping[str, Any] = saved.values
        tensors = {
            name: value.to(device) for name, value in saved.tensors.items() if name.startswith(("now.", "alive."))
        }
        _Shape(**strip_prefix(tensors, "now.")).put_into(trainer)
        self._last_alive = _Shape(**strip_prefix(tensors, "alive."))
        trainer.generator.set_state(saved.tensors["generator"])
        current = strip_prefix(saved.tensors, "scores.")
        trainer.scores = cast(ScoresT, trainer.scores.rebuild({}, current)).map(lambda tensor: tensor.to(device))
        states = strip_prefix(saved.tensors, "states.")
        parameters = strip_prefix(states, "scores.")
        kind = SCORES.get(values["kind"])
        for index, (number, seconds, accurate, loss) in enumerate(values["states"]):
            scores = kind.rebuild({}, {name: stacked[index].to(device) for name, stacked in parameters.items()})
            scales = states["scales"][index] if "scales" in states else None
            masks = KernelMasks(self.graph.layout, states["bits"][index].bool(), scales)
            f1, dead = states["f1"][index], states["dead"][index].bool()
            self.states.append(RecordedState(number, seconds, masks, scores, accurate, f1, dead, loss))
        self.warnings = list(values["warnings"])
        self.rescues = int(values["rescues"])
        self.started -= self.states[-1].seconds
        trainer.loss = self.states[-1].loss


@dataclass
class _Shape:
    """What a module consists of beside its scores: its real masks, and its scales where a method learns them."""

    masks: Tensor
    scales: Tensor | None = None

    @classmethod
    def of(cls, trainer: MaskTrainer[Any, Any]) -> _Shape:
        return cls(trainer.masks.clone(), None if trainer.scales is None else trainer.scales.clone())

    def tensors(self) -> dict[str, Tensor]:
        return {"masks": self.masks} if self.scales is None else {"masks": self.masks, "scales": self.scales}

    def put_into(self, trainer: MaskTrainer[Any, Any]) -> None:
        trainer.masks, trainer.scales = self.masks, self.scales

    def update(self, trainer: MaskTrainer[Any, Any], modules: Tensor) -> None:
        """Take over some modules from a trainer."""
        chosen = modules.to(self.masks.device)
        self.masks[chosen] = trainer.masks[chosen]
        if self.scales is not None and trainer.scales is not None:
            self.scales[chosen] = trainer.scales[chosen]

    def restore(self, trainer: MaskTrainer[Any, Any], modules: Tensor) -> None:
        """Put some modules into a trainer, with new scores."""
        trainer.masks[modules] = self.masks[modules]
        if self.scales is not None and trainer.scales is not None:
            trainer.scales[modules] = self.scales[modules]
        fresh = trainer.new_scores().tensors()
        for name, tensor in trainer.scores.tensors().items():
            tensor[modules] = fresh[name][modules]
