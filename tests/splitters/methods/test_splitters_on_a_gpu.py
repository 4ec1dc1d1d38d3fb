"""Every splitter on a pretended GPU: it finds what it finds on the CPU, and its modules work on both."""

from dataclasses import replace

import pytest
import torch
from pretended_gpu import pretended_gpu
from torch import nn

from splitters import compose, patch, split
from splitters.methods.protocol import make_splitter
from splitters.testing import tiny_task

_MASKS = {"rounds": 2, "mask_phase": "6 steps", "mask_learning_rate": 0.4, "batch_size": 20}
_GRAD = {**_MASKS, "warmup": "3 steps", "head_phase": "3 steps"}
_CASES = [
    ("gradsplitter", _GRAD),
    ("gradsplitter", {**_GRAD, "score": "moments", "memory_mb": 1}),
    ("scalesplitter", {**_MASKS, "tune_phase": "3 steps", "final_phase": "3 steps"}),
    ("cnnsplitter", {"population": 4, "parents": 2, "elites": 1, "generations": 2, "score": "head", "head_steps": 3}),
    ("taylor", {"retention": 0.5, "score": "moments"}),
    ("importance", {"retention": 0.5, "score": "best", "head_steps": 3}),
    ("random", {"retention": 0.5, "score": "logit"}),
    ("full", {}),
]  # fmt: skip


def test_the_pretended_gpu_refuses_tensors_and_random_numbers_of_the_cpu() -> None:
    with pretended_gpu() as device:
        ours = torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="mul: Expected all tensors to be on the same device"):
            ours * torch.ones(3)
        with pytest.raises(RuntimeError, match="index: Expected all tensors to be on the same device"):
            torch.ones(3)[ours.long()]
        with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
            torch.rand(3, device=device, generator=torch.Generator())
        assert float((2 * ours * torch.tensor(2.0)).sum()) == 12


@pytest.mark.parametrize(("method", "settings"), _CASES)
def test_a_splitter_finds_what_it_finds_on_the_cpu(method: str, settings: dict[str, object]) -> None:
    expected = make_splitter(method, settings).split(tiny_task())
    with pretended_gpu() as device:
        found = make_splitter(method, settings).split(replace(tiny_task(), device=device))
    assert torch.equal(found.masks.bits, expected.masks.bits)
    assert found.scores.kind == expected.scores.kind
    for name, values in expected.scores.tensors().items():
        assert torch.allclose(found.scores.tensors()[name].to("cpu"), values)


def test_modules_of_a_network_on_a_gpu_can_be_reused() -> None:
    with pretended_gpu() as gpu:
        _reuse(gpu)


def _reuse(gpu: torch.device) -> None:
    task = tiny_task()
    model: nn.Module = task.model.to(gpu)
    modules = split(model, task.train, task.select, method="importance", retention=0.5, score="moments").modules()
    composed = compose(modules)
    expected = composed.predict_proba(task.select.images)
    composed.to(gpu)
    for images in (task.select.images, task.select.images.to(gpu)):
        found = composed.predict_proba(images)
        assert found.device == images.device
        assert torch.allclose(found.cpu(), expected, atol=1e-5)
    patched = patch(model, modules[1], task.select)
    assert set(patched.predict(task.select.images).tolist()) <= {0, 1, 2}
