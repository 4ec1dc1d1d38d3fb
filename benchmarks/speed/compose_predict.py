"""``compose.predict``: the scores of ten modules of one base model, composed."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.models.papers.simcnn import SimCNN
from benchmarks.speed.cnnsplitter.plain import plain_simcnn_logits
from benchmarks.speed.gradsplitter.contest import synthetic_task
from benchmarks.speed.measurement import Measurement, in_turns
from splitters.methods.protocol import SplitResult
from splitters.modules.module import extract_modules
from splitters.modules.score_kinds import LogitScores
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import compose

_SHARE = 0.4


@torch.no_grad()
def measure(
    *, width: float = 1.0, images: int = 64, classes: int = 10, repeats: int = 3, device: str = "cpu"
) -> Measurement:
    """Compare a composed model with its modules as plain small networks, one after the other.

    Args:
        width: Share of SimCNN's channels.
        images: Images of the batch.
        classes: Number of modules.
        repeats: Timed passes.
        device: Where both run.
    """
    task = synthetic_task(width=width, images=images, classes=classes, device=device).on_device()
    graph = task.trace()
    priority = torch.rand(classes, graph.layout.n_channels, generator=torch.Generator().manual_seed(1))
    masks = KernelMasks.repaired(graph.layout, priority > 1 - _SHARE, priority)
    modules = extract_modules(
        graph, SplitResult(masks, LogitScores()), task.train.class_names, task.train.normalisation
    )
    composed = compose(modules, task.train.class_names)
    kernels = [layer.kernels for layer in graph.layout.layers]
    kept = [[part.nonzero().squeeze(1) for part in row.split(kernels)] for row in masks.kernel_bits]
    plain_model = task.model.to(device)
    assert isinstance(plain_model, SimCNN)
    batch = task.train.normalisation(task.train.images)
    plain_batch = batch.contiguous()

    @torch.no_grad()
    def ours() -> Tensor:
        scores: Tensor = composed(batch)
        return scores

    def plain() -> Tensor:
        logits = [plain_simcnn_logits(plain_model, of_module, plain_batch) for of_module in kept]
        return torch.stack([logits[index][:, index] for index in range(classes)], dim=1)

    torch.testing.assert_close(ours(), plain(), rtol=1e-3, atol=1e-4)
    seconds, reference_seconds = in_turns(ours, plain, repeats=repeats, device=device)
    return Measurement(
        "compose.predict",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"{classes} modules of SimCNN at width {width:g} with {_SHARE:.0%} of its kernels, {images} images: "
        f"{images / seconds:.4g} images per second",
        ours=ours,
        flops=images * composed.cost().flops,
        repeats=repeats,
    )
