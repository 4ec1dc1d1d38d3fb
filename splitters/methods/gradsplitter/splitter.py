"""GradSplitter: kernel masks and heads found by gradient descent (arXiv 2311.04438, section 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter.mask_reach import reach_warnings
from splitters.methods.gradsplitter.recorded_states import Health, RecordedState, choose, examine
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer
from splitters.methods.kernel_choice.kernel_multiples import rounding_warnings
from splitters.methods.protocol import (
    SPLITTERS,
    Checkpoint,
    CheckpointState,
    NoCheckpoint,
    Progress,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    ignore_progress,
)
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.methods.scoring.kinds import ScoreKind
from splitters.modules.score_kinds import HeadScores, LogitScores, ScaledLogitScores
from splitters.modules.scores import Scores
from splitters.networks.inference import ClassReport, accuracy, class_report, network_logits
from splitters.networks.masks import KernelMasks
from splitters.tensor_names import strip_prefix, with_prefix

_LOGGER = logging.getLogger(__name__)

_SCORES: Mapping[ScoreKind, type[Scores]] = {"head": HeadScores, "logit": LogitScores, "moments": ScaledLogitScores}


@SPLITTERS.register("gradsplitter")
class GradSplitter(Splitter[GradSplitterSettings]):
    """Finds all modules at once by gradient descent on real masks over the kernels, with one small head per module.

    A head phase trains the heads first; rounds of a mask phase (masks and heads) and a head phase follow. The end of
    each round is recorded, and ``choose`` picks one of the recorded states.
    """

    Settings = GradSplitterSettings
    version = 1

    def split(
        self,
        task: SplitTask,
        *,
        graph: ChannelGraph | None = None,
        progress: ProgressCallback = ignore_progress,
        checkpoint: Checkpoint | None = None,
    ) -> SplitResult:
        """Split the task's base model; see ``Splitter.split``."""
        graph = task.usable_graph(graph)
        search = _Search(task, graph, self.settings, progress, checkpoint or NoCheckpoint())
        search.run()
        return search.result()


@dataclass
class _LastAlive:
    """The real masks with which each module was last alive."""

    masks: Tensor

    def update(self, masks: Tensor, dead: Tensor) -> None:
        alive = ~dead.to(masks.device)
        self.masks[alive] = masks[alive]


@dataclass
class _Search:
    task: SplitTask
    graph: ChannelGraph
    settings: GradSplitterSettings
    progress: ProgressCallback
    checkpoint: Checkpoint
    states: list[RecordedState] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rescues: int = 0

    def __post_init__(self) -> None:
        if not self.graph.layout.n_channels:
            raise SplitFailedError(f"no kernel can be dropped: {self.graph.explain()}")
        self.started = time.perf_counter()
        self.reported = Progress("warm-up", 0, self.settings.rounds)
        self._warn_before()
        device = self.task.device
        self.graph.network.to(device).to(memory_format=torch.channels_last)
        self.task = self.task.on_device()
        generator = torch.Generator().manual_seed(self.task.seed)
        self.trainer = Trainer(self.task, self.graph, self.settings, generator, tick=self._repeat_report)
        self.fitter = ScoreFitter(self.graph, self.task, tick=self._repeat_report)
        self.last_alive = _LastAlive(self.trainer.masks.clone())
        answers = network_logits(self.graph.network, self.task.select, tick=self._repeat_report).argmax(1)
        self.base_accuracy = accuracy(answers, self.task.select.labels)
        self.base_report: ClassReport = class_report(answers, self.task.select.labels, self.task.n_classes)

    def run(self) -> None:
        saved = self.checkpoint.load()
        if saved is not None:
            self._restore(saved)
        else:
            self._report("warm-up", 0)
            self.trainer.head_phase(self.settings.warmup, self.settings.warmup_learning_rate)
            self._revive(self._examine(), round_number=0)
        for number in range(len(self.states) + 1, self.settings.rounds + 1):
            self._round(number)
            self._save()

    def _warn_before(self) -> None:
        self.warnings += reach_warnings(self.settings, samples=len(self.task.train))
        self.warnings += rounding_warnings(self.graph.layout, self.settings.round_to)
        for warning in self.warnings:
            _LOGGER.warning(warning)

    def result(self) -> SplitResult:
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
            scores=_moved(chosen.scores, torch.device("cpu")),
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
        total = self.trainer.steps_of(self.settings.mask_phase)
        for step in self.trainer.mask_phase():
            if step % 10 == 0 or step == total:
                self._report("split", number - 1, fraction=step / total)
            else:
                self._repeat_report()
        self.trainer.head_phase(self.settings.head_phase, self.settings.head_learning_rate)
        health = self._revive(self._examine(), round_number=number)
        scores = self._scores()
        if scores is not self.trainer.heads:
            health = self._examine(scores)
        self.states.append(
            RecordedState(
                round=number,
                seconds=time.perf_counter() - self.started,
                masks=self.trainer.kernel_masks(),
                scores=scores,
                accuracy=health.accuracy,
                f1=health.report.f1,
                dead=health.dead,
                loss=self.trainer.loss,
            )
        )
        self._report("split", number)

    def _examine(self, scores: Scores | None = None) -> Health:
        """Evaluate the current modules with some scores; by default with the heads that the search trains."""
        scores = scores or self.trainer.heads
        masks = self.trainer.kernel_masks()
        return examine(self.graph, self.task, masks, scores, self.base_report, tick=self._repeat_report)

    def _scores(self) -> Scores:
        """Return the current modules' scores of the kind that the result has."""
        if self.settings.score == "head":
            return self.trainer.heads
        return self.fitter.fit(self.settings.score, self.trainer.kernel_masks())

    def _revive(self, health: Health, *, round_number: int) -> Health:
        """Restore the last masks with which dead modules were alive, and train new heads as in the first head phase."""
        for _ in range(self.settings.rescue_attempts if self.settings.rescue else 0):
            if not health.dead.any():
                break
            dead = health.dead.to(self.trainer.masks.device)
            self.trainer.masks[dead] = self.last_alive.masks[dead]
            fresh = self.trainer.new_heads().tensors()
            for name, tensor in self.trainer.heads.tensors().items():
                tensor[dead] = fresh[name][dead]
            self.trainer.head_phase(self.settings.warmup, self.settings.warmup_learning_rate, only=dead)
            self.rescues += int(dead.sum())
            names = ", ".join(repr(self.task.select.class_names[i]) for i in dead.nonzero().flatten().tolist())
            self.warnings.append(f"round {round_number}: dead modules were restored with new heads: {names}.")
            health = self._examine()
        self.last_alive.update(self.trainer.masks, health.dead)
        return health

    def _report(self, stage: str, done: int, fraction: float = 0.0) -> None:
        metrics: dict[str, float] = {}
        is_milestone = bool(self.states) and fraction == 0
        if is_milestone:
            metrics = {"accuracy": self.states[-1].accuracy, "kernel_retention": self.states[-1].masks.retention}
        elif fraction:
            metrics = {"loss": self.trainer.loss, "round_done": fraction}
        self.reported = Progress(stage, done, self.settings.rounds, metrics, milestone=is_milestone)
        self.progress(self.reported)

    def _repeat_report(self) -> None:
        """Repeat the last report, so that the callback can stop the split between any two batches."""
        self.progress(self.reported)

    # Checkpoints

    def _save(self) -> None:
        trainer = self.trainer
        tensors: dict[str, Tensor] = {"masks": trainer.masks, "good_masks": self.last_alive.masks}
        tensors["generator"] = trainer.generator.get_state()
        tensors.update(with_prefix(trainer.heads.tensors(), "heads."))
        tensors["states.bits"] = torch.stack([state.masks.bits for state in self.states])
        tensors["states.f1"] = torch.stack([state.f1 for state in self.states])
        tensors["states.dead"] = torch.stack([state.dead for state in self.states])
        for name in self.states[0].scores.tensors():
            tensors[f"states.{name}"] = torch.stack([state.scores.tensors()[name] for state in self.states])
        values: dict[str, object] = {
            "states": [[s.round, s.seconds, s.accuracy, s.loss] for s in self.states],
            "warnings": list(self.warnings),
            "rescues": self.rescues,
        }
        # Masks and heads of dead modules are overwritten in place, so the checkpoint needs copies.
        self.checkpoint.save(CheckpointState({name: value.clone() for name, value in tensors.items()}, values))

    def _restore(self, saved: CheckpointState) -> None:
        trainer, device = self.trainer, self.task.device
        trainer.masks = saved.tensors["masks"].to(device)
        self.last_alive = _LastAlive(saved.tensors["good_masks"].to(device))
        trainer.generator.set_state(saved.tensors["generator"])
        trainer.heads = HeadScores(**strip_prefix(saved.tensors, "heads.")).map(lambda tensor: tensor.to(device))
        values: Mapping[str, Any] = saved.values
        states = strip_prefix(saved.tensors, "states.")
        parameters = {name: states[name] for name in states.keys() - {"bits", "f1", "dead"}}
        for index, (number, seconds, accurate, loss) in enumerate(values["states"]):
            tensors = {name: stacked[index].to(device) for name, stacked in parameters.items()}
            scores = _SCORES[self.settings.score].rebuild({}, tensors)
            masks = KernelMasks(self.graph.layout, states["bits"][index].bool())
            f1, dead = states["f1"][index], states["dead"][index].bool()
            self.states.append(RecordedState(number, seconds, masks, scores, accurate, f1, dead, loss))
        self.warnings = list(values["warnings"])
        self.rescues = int(values["rescues"])
        self.started -= self.states[-1].seconds
        trainer.loss = self.states[-1].loss


def _moved(scores: Scores, device: torch.device) -> Scores:
    return scores.rebuild(scores.describe(), {name: tensor.to(device) for name, tensor in scores.tensors().items()})
