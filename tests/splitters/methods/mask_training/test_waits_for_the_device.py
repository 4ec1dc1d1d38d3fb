"""Phases of mask training leave the device alone: how often they wait for it does not depend on their steps."""

from collections import Counter

import pytest
import torch
from synchronisations import Synchronisations

from splitters.methods.gradsplitter import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer as GradTrainer
from splitters.methods.mask_training.trainer import MaskTrainer
from splitters.methods.scalesplitter import ScaleSplitterSettings
from splitters.methods.scalesplitter.trainer import Trainer as ScaleTrainer
from splitters.methods.scoring import head_training
from splitters.settings import Length
from splitters.testing import tiny_task

_FEW, _MANY = 2, 8
_ONE_MODULE = torch.tensor([False, True, False])


def _trainer(method: str, steps: int, **changes: object) -> MaskTrainer:
    task = tiny_task()
    settings = {"mask_phase": f"{steps} steps", "batch_size": 20, "mask_learning_rate": 0.5, "alpha": 5.0, **changes}
    generator = torch.Generator().manual_seed(0)
    if method == "scalesplitter":
        return ScaleTrainer(task, task.trace(), ScaleSplitterSettings.parse(settings, where="test"), generator)
    return GradTrainer(task, task.trace(), GradSplitterSettings.parse(settings, where="test"), generator)


def _waits_of_mask_phase(method: str, steps: int, **changes: object) -> Counter[str]:
    trainer = _trainer(method, steps, **changes)
    with Synchronisations() as counts:
        assert list(trainer.mask_phase()) == list(range(1, steps + 1))
    assert bool((trainer.masks < 0).any()), "no layer was in danger, so nothing was repaired"
    return counts


def _waits_of_score_phase(method: str, steps: int, only: torch.Tensor | None) -> Counter[str]:
    trainer = _trainer(method, 1)
    with Synchronisations() as counts:
        trainer.score_phase(Length(count=steps, unit="steps"), 0.01, only)
    return counts


def test_waits_are_counted() -> None:
    values = torch.tensor([1.0, 2.0])
    with Synchronisations() as counts:
        if values.sum() > 0:
            values[values > 1] += 1
        values.to("cpu", torch.float64)
    assert counts == {"_local_scalar_dense": 1, "index": 1, "index_put_": 1, "to": 1}


@pytest.mark.parametrize(
    ("method", "changes"),
    [("gradsplitter", {}), ("gradsplitter", {"sparsity": "kernels"}), ("scalesplitter", {})],
)
def test_no_step_of_a_mask_phase_waits(method: str, changes: dict[str, object]) -> None:
    assert _waits_of_mask_phase(method, _MANY, **changes) == _waits_of_mask_phase(method, _FEW, **changes)


@pytest.mark.parametrize("only", [None, _ONE_MODULE])
@pytest.mark.parametrize("method", ["gradsplitter", "scalesplitter"])
def test_no_step_of_a_head_or_tune_phase_waits(method: str, only: torch.Tensor | None) -> None:
    assert _waits_of_score_phase(method, _MANY, only) == _waits_of_score_phase(method, _FEW, only)


def test_no_step_waits_where_logits_do_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_training, "_LOGITS_BYTES", 0)
    assert _waits_of_score_phase("gradsplitter", _MANY, None) == _waits_of_score_phase("gradsplitter", _FEW, None)
