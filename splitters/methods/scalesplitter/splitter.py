"""ScaleSplitter: kernel masks, scales of the kept kernels, and linear read-outs, found by gradient descent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Bool
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.mask_training.mask_reach import reach_warnings
from splitters.methods.mask_training.recorded_states import RecordedState, is_within
from splitters.methods.mask_training.search import MaskSearch
from splitters.methods.protocol import (
    SPLITTERS,
    Checkpoint,
    NoCheckpoint,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    ignore_progress,
)
from splitters.methods.scalesplitter.settings import ScaleSplitterSettings
from splitters.methods.scalesplitter.trainer import Trainer
from splitters.modules.score_kinds import LinearScores


@SPLITTERS.register("scalesplitter")
class ScaleSplitter(Splitter[ScaleSplitterSettings]):
    """Finds modules as GradSplitter does, and retunes the kernels that they keep.

    A kernel that stays has to make up for those that go. Beside its real masks, each module therefore learns one
    factor per kept kernel, which extraction folds into the weights that read it, and a linear read-out of all class
    logits that begins as the logit of its own class. Each module is trained by the binary cross-entropy of "my class or
    not", whose gradient does not fade in a sigmoid followed by a softmax. All together learn to outscore each other by
    the divergence of their scores' softmax from the base model's soft answers (Hinton et al.,
    https://arxiv.org/abs/1503.02531). Between mask phases, scales and read-outs are tuned with masks frozen. At the
    end, recorded states are tuned for longer, those with the fewest kernels first, until one is within the tolerance;
    states larger than one that is within it untuned are left out. The choice of the result and the rescue of dead
    modules are GradSplitter's.
    """

    Settings = ScaleSplitterSettings
    version = 4

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
        return _Search(task, graph, self.settings, progress, checkpoint or NoCheckpoint()).run()


class _Search(MaskSearch[ScaleSplitterSettings, LinearScores]):
    scores_name = "read-outs"

    def new_trainer(self, generator: torch.Generator) -> Trainer:
        return Trainer(self.task, self.graph, self.settings, generator, tick=self.tick)

    def early_warnings(self) -> tuple[str, ...]:
        return reach_warnings(self.settings, samples=len(self.task.train), presets="'fast' or 'thorough'")

    def begin(self) -> None:
        pass

    def train_scores(self) -> None:
        self.trainer.score_phase(self.settings.tune_phase, self.settings.learning_rate)

    def train_restored(self, dead: Bool[Tensor, " module"]) -> None:
        self.trainer.score_phase(self.settings.tune_phase, self.settings.learning_rate, only=dead)

    def later_states(self) -> Iterator[RecordedState]:
        """Tune recorded states for longer, those with the fewest kernels first, until one is within the tolerance.

        States larger than one that is within it untuned are left out, as they would not be chosen.
        """
        if not self.trainer.steps_of(self.settings.final_phase):
            return
        # Accuracy does not grow steadily with kernels, neither before tuning nor after it, so a bisection passes over
        # small states that would do.
        rounds = self.settings.rounds
        recorded = sorted(self.states[:rounds], key=lambda state: state.n_kernels)
        enough = [state.n_kernels for state in recorded if self._is_enough(state)]
        recorded = [state for state in recorded if not enough or state.n_kernels <= min(enough)]
        done, total = len(self.states) - rounds, len(recorded)
        self.report("tune", done, total=total)
        while done < total and not (done and self._is_enough(self.states[-1])):
            yield self._tuned(recorded[done])
            done += 1
            self.report("tune", done, total=total)

    def _is_enough(self, state: RecordedState) -> bool:
        return is_within(state, self.base_accuracy, self.settings.tolerance)

    def _tuned(self, state: RecordedState) -> RecordedState:
        trainer = self.trainer
        trainer.take_over(state.masks, cast(LinearScores, state.scores))
        trainer.score_phase(self.settings.final_phase, self.settings.learning_rate)
        return self.state(len(self.states) + 1, trainer.scores, self.examine())
