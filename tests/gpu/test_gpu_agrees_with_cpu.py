"""A GPU gives what the CPU gives, within rounding."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from splitters.methods.cnnsplitter.merging import Compositions, Merger, StageLimits
from splitters.methods.protocol import SplitResult, SplitTask, make_splitter
from splitters.networks.execution.precision import Precision, computing_in, run_network
from splitters.networks.inference import module_logits, network_logits
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks, repair
from splitters.networks.shared_forward import SharedForward
from splitters.testing import tiny_task

_GPU = torch.device("cuda:0")
_SEARCHES = {
    "gradsplitter": {"preset": "fast", "mask_phase": "20 steps", "alpha": 0.5, "mask_learning_rate": 0.1},
    "scalesplitter": {"preset": "fast", "mask_phase": "20 steps", "mask_learning_rate": 0.1},
    "cnnsplitter": {"population": 6, "parents": 4, "elites": 2, "generations": 2, "curve_shares": [0.3, 0.6]},
    "importance": {"retention": 0.5},
    "taylor": {"retention": 0.5},
}


def _on(device: torch.device) -> SplitTask:
    return replace(tiny_task(), device=device)


def _outputs(device: torch.device) -> list[Tensor]:
    """Return the logits of the base model, of modules cut out, and of masked ones, and the masks' gradients."""
    task = _on(device).on_device()
    graph, images = task.trace(), task.select
    priority = torch.rand(3, graph.layout.n_channels, generator=torch.Generator().manual_seed(0))
    bits = repair(graph.layout, priority > 0.4, priority)
    gates = bits.to(device, torch.float32).requires_grad_()
    network = masked_network(graph).to(device)
    masked = run_network(network, next(images.batches(len(images))), gates)
    (gradients,) = torch.autograd.grad(masked.square().mean(), gates)
    outputs = network_logits(graph.network, images), module_logits(graph, KernelMasks(graph.layout, bits), images)
    return [output.detach().cpu() for output in (*outputs, masked, gradients)]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("tf32", 5e-3), ("bf16", 3e-2)])
def test_outputs_and_gradients_are_those_of_the_cpu(precision: Precision, tolerance: float) -> None:
    expected = _outputs(torch.device("cpu"))
    with computing_in(precision, _GPU):
        found = _outputs(_GPU)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) < tolerance * float(other.abs().max())


def test_repair_is_that_of_the_cpu() -> None:
    layout = tiny_task().trace().layout
    priority = torch.randint(-2, 3, (4, layout.n_channels), generator=torch.Generator().manual_seed(0)).float()
    for bits in (priority > 1, torch.zeros_like(priority, dtype=torch.bool)):
        assert torch.equal(repair(layout, bits.to(_GPU), priority.to(_GPU)).cpu(), repair(layout, bits, priority))


def test_candidates_score_what_they_score_on_the_cpu() -> None:
    def logits(device: torch.device) -> Tensor:
        task = _on(device).on_device()
        graph = task.trace()
        priority = torch.rand(9, graph.layout.n_channels, generator=torch.Generator().manual_seed(0))
        bits = repair(graph.layout, priority > 0.4, priority)
        with computing_in("float32", device):
            forward = SharedForward(graph, batch_size=16, memory_bytes=1 << 20)
            return forward.class_logits(bits, torch.arange(9) % 3, task.select).cpu()

    expected = logits(torch.device("cpu"))
    assert float((logits(_GPU) - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_merging_keeps_what_it_keeps_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-9, 9, (5, 12, 300), generator=generator).float()  # with many ties
    labels = torch.randint(5, (300,), generator=generator)
    distances = torch.rand(5, 12, 5, 12, generator=generator, dtype=torch.float64)

    def merge(device: torch.device) -> Compositions:
        merger = Merger(labels.to(device), 5, memory_bytes=1 << 20)
        stages = [StageLimits(0.3, 20, 40)] * 3
        return merger.merge(scores.to(device), distances.to(device), class_order=range(5), stages=stages)

    found, expected = merge(_GPU), merge(torch.device("cpu"))
    assert torch.equal(found.members.cpu(), expected.members)
    assert torch.equal(found.accuracy.cpu(), expected.accuracy)


def _split(method: str, device: torch.device) -> SplitResult:
    with computing_in("float32", device):
        return make_splitter(method, _SEARCHES[method]).split(_on(device))


@pytest.mark.parametrize("method", list(_SEARCHES))
def test_a_search_chooses_what_it_chooses_on_the_cpu(method: str) -> None:
    found, expected = _split(method, _GPU), _split(method, torch.device("cpu"))
    for fact in ("chosen_round", "chosen_generation"):
        assert found.facts.get(fact) == expected.facts.get(fact)
    assert found.masks.retention == pytest.approx(expected.masks.retention, abs=0.02)
    assert found.met_tolerance == expected.met_tolerance


def test_a_search_on_a_gpu_can_be_repeated() -> None:
    one, other = _split("gradsplitter", _GPU), _split("gradsplitter", _GPU)
    assert torch.equal(one.masks.bits, other.masks.bits)
