"""``gradsplitter.mask_step_dense``, ``.mask_step_sparse`` and ``.first_steps``: a step of a mask phase.

The first two also with ours in bfloat16; the plain steps are those of float32.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from benchmarks.speed.gradsplitter.contest import Contest, layer_flops, synthetic_task
from benchmarks.speed.measurement import Measurement, in_turns
from splitters.graph.layout import ChannelLayout
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.networks.execution.precision import computing_in
from splitters.settings import Precision

State = Literal["dense", "sparse", "first"]

_NAMES = {"dense": "mask_step_dense", "sparse": "mask_step_sparse", "first": "first_steps"}
_KEPT = {
    "dense": "every module has dropped one kernel of the first layer",
    "sparse": "modules keep 40 % of every layer's kernels",
    "first": "no kernel has been dropped yet",
}
_SPARSE_SHARE = 0.4


def measure(
    state: State,
    *,
    width: float = 1.0,
    batch_size: int = 32,
    classes: int = 10,
    repeats: int = 3,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Measurement:
    """Compare a step with N masked copies that run one after the other.

    Args:
        state: What the modules keep: all kernels (``first``), all but one each, so that no two modules compute the same
            (``dense``), or 40 % of every layer (``sparse``).
        width: Share of SimCNN's channels.
        batch_size: Images per step.
        classes: Number of modules.
        repeats: Timed steps.
        device: Where both run.
        precision: In which our networks compute.
    """
    # At the paper's learning rates, no mask changes its sign in so few steps.
    settings = GradSplitterSettings.parse({"batch_size": batch_size, "mask_phase": "1 steps"}, where="gradsplitter")
    task = synthetic_task(width=width, images=batch_size * 4, classes=classes, device=device)
    masks = _masks(state, task.trace().layout, classes)
    contest = Contest.of(task, settings, masks=masks)

    def ours() -> None:
        with computing_in(precision, device):
            for _ in contest.ours.mask_phase():
                pass

    def plain() -> None:
        contest.plain.mask_phase(
            contest.batches(1),
            mask_learning_rate=settings.mask_learning_rate,
            head_learning_rate=settings.head_learning_rate,
        )

    seconds, reference_seconds = in_turns(ours, plain, repeats=repeats, device=device)
    suffix = "" if precision == "float32" else f"_{precision}"
    if suffix:
        # Where a gradient is as small as its rounding, Adam makes a whole step of it, in either direction.
        contest.check_loss(rtol=1e-2)
    else:
        contest.check()
    return Measurement(
        f"gradsplitter.{_NAMES[state]}{suffix}",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"SimCNN at width {width:g}, {classes} modules, {batch_size} images; {_KEPT[state]}",
        ours=ours,
        # The machine's rate is that of float32, which bounds no other precision.
        flops=0.0 if suffix else batch_size * _flops(contest, masks > 0),
        repeats=repeats,
    )


def _masks(state: State, layout: ChannelLayout, classes: int) -> Tensor:
    masks = torch.ones(classes, layout.n_channels)
    if state == "dense":
        masks[torch.arange(classes), torch.arange(classes) % len(layout.groups[0].channels)] = -1
    elif state == "sparse":
        generator = torch.Generator().manual_seed(1)
        for group in layout.groups:
            channels = torch.tensor(group.channels)
            dropped = len(channels) - max(1, round(_SPARSE_SHARE * len(channels)))
            for row in masks:
                row[channels[torch.randperm(len(channels), generator=generator)[:dropped]]] = -1
    return masks


def _flops(contest: Contest, bits: Tensor) -> float:
    """Return the operations per image that all modules need.

    A mask's gradient needs its channel's value, kept or not. So a convolution computes all outputs from the inputs that
    are kept, once for all modules that agree so far; backwards, it computes the gradients of all inputs from the
    outputs that are kept, for each module.
    """
    convolutions, linear = layer_flops(contest.plain.model)
    kept = bits.split([layer.kernels for layer in contest.graph.layout.layers], dim=1)
    total, before = float(convolutions[0]), bits[:, :0]
    for index, flops in enumerate(convolutions[1:], start=1):
        before = torch.cat([before, kept[index - 1]], dim=1)
        width = kept[index - 1].shape[1]
        forward = before.unique(dim=0)[:, -width:].float().mean(1).sum()
        backward = kept[index].float().mean(1).sum()
        total += flops * float(forward + backward)
    return total + linear * (len(bits.unique(dim=0)) + len(bits))
