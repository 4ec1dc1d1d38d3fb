"""``gradsplitter.split``: a short split on handwritten digits, to the same masks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.pipeline.preparation import Stages, prepare
from benchmarks.pipeline.workspace import Workspace
from benchmarks.speed.gradsplitter.contest import Contest, synthetic_task
from benchmarks.speed.measurement import Measurement, in_turns
from splitters.data import ImageSet
from splitters.methods.gradsplitter import GradSplitter, GradSplitterSettings
from splitters.methods.protocol import SplitTask

_AGREEMENT = 0.95
"""Share of bits that must agree: Adam amplifies rounding, which decides those of masks near 0."""


def measure(
    *,
    width: float = 0.125,
    rounds: int = 2,
    warmup: int = 20,
    mask_steps: int = 30,
    head_steps: int = 10,
    training_epochs: int = 4,
    synthetic_images: int | None = None,
    repeats: int = 2,
    device: str = "cpu",
) -> Measurement:
    """Compare a whole split, select images included, with N masked copies that run one after the other.

    Args:
        width: Share of SimCNN's channels.
        rounds: Pairs of a mask phase and a head phase.
        warmup: Steps of the first head phase.
        mask_steps: Steps of a mask phase.
        head_steps: Steps of a head phase.
        training_epochs: Epochs of the base model.
        synthetic_images: Random images to take instead of digits, with random weights; for tests.
        repeats: Timed splits.
        device: Where both run.
    """
    if synthetic_images is None:
        task = _digits_task(width, training_epochs, device)
    else:
        task = synthetic_task(width=width, images=synthetic_images, device=device)
    settings = GradSplitterSettings.parse(
        {
            "preset": "fast",
            "alpha": 0.7,
            "rounds": rounds,
            "warmup": f"{warmup} steps",
            "mask_phase": f"{mask_steps} steps",
            "head_phase": f"{head_steps} steps",
            "rescue": False,
        },
        where="gradsplitter",
    )
    splitter = GradSplitter(settings)
    plain = _PlainSplit(task, settings)
    seconds, reference_seconds = in_turns(lambda: splitter.split(task), plain.run, repeats=repeats, device=device)
    chosen = splitter.split(task)
    agreement = float((chosen.masks.bits == plain.bits).double().mean())
    if agreement < _AGREEMENT:
        raise RuntimeError(f"only {agreement:.1%} of the mask bits agree with the plain reference's.")
    return Measurement(
        "gradsplitter.split",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"digits, SimCNN at width {width:g}, {len(task.train)} train images, {rounds} rounds of {mask_steps} "
        f"mask and {head_steps} head steps of {settings.batch_size} images; {chosen.masks.retention:.1%} of the "
        f"kernels kept, {agreement:.2%} of the bits are the reference's",
        ours=lambda: splitter.split(task),
        repeats=repeats,
    )


@dataclass
class _PlainSplit:
    """The paper's schedule in plain torch; of the states after each round, the choice is the paper's.

    Args:
        task: The base model and the images.
        settings: The schedule.
        bits: What the chosen modules keep, after ``run``.
    """

    task: SplitTask
    settings: GradSplitterSettings
    bits: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self) -> None:
        contest, settings = Contest.of(self.task, self.settings), self.settings
        plain, samples = contest.plain, len(self.task.train)
        base = self._base_accuracy(contest)

        def steps(length_of: str) -> int:
            return int(getattr(settings, length_of).steps(samples=samples, batch_size=settings.batch_size))

        plain.head_phase(contest.batches(steps("warmup")), learning_rate=settings.warmup_learning_rate)
        states: list[tuple[float, Tensor]] = []
        for _ in range(settings.rounds):
            plain.mask_phase(
                contest.batches(steps("mask_phase")),
                mask_learning_rate=settings.mask_learning_rate,
                head_learning_rate=settings.head_learning_rate,
            )
            plain.head_phase(contest.batches(steps("head_phase")), learning_rate=settings.head_learning_rate)
            states.append((plain.accuracy(self._select()), plain.all_masks > 0))
        within = [bits for accuracy, bits in states if accuracy >= base - settings.tolerance - 1e-9]
        best = min(within, key=lambda bits: int(bits.sum())) if within else max(states, key=lambda state: state[0])[1]
        self.bits = best.cpu()

    @torch.no_grad()
    def _base_accuracy(self, contest: Contest) -> float:
        correct = [contest.plain.model(images).argmax(1) == labels for images, labels in self._select()]
        return float(torch.cat(correct).double().mean())

    def _select(self) -> Iterator[tuple[Tensor, Tensor]]:
        select: ImageSet = self.task.select.to(self.task.device)
        for start in range(0, len(select), 256):
            part = slice(start, start + 256)
            yield select.normalisation(select.images[part]).contiguous(), select.labels[part]


def _digits_task(width: float, epochs: int, device: str) -> SplitTask:
    cell = Cell(
        splitter=SplitterSpec(name="gradsplitter"),
        model=ModelSpec(name="simcnn", settings={"width": width, "dropout": 0.0}),
        dataset=DatasetSpec(name="digits"),
        training=TrainingSpec(recipe="one_cycle", epochs=epochs, learning_rate=0.02, batch_size=32, crop_padding=0),
        threads=torch.get_num_threads(),
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(cache=Path(folder), device=device)
        prepared = prepare(cell, workspace, Stages(device))
        # Copied out of the folder, which holds them as a file.
        roles = (prepared.roles.train, prepared.roles.select)
        train, select = (images.subset(torch.arange(len(images))) for images in roles)
    return SplitTask(prepared.base.model, train, select, seed=cell.seed, device=torch.device(device))
