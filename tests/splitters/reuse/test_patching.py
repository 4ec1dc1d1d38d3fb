"""Patched models, and the files of patched and composed models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from exactness import images, random_bits, shaken
from safetensors.torch import save_file
from small_nets import Between
from torch import Tensor, nn

from splitters.data import IMAGENET, ImageSet, Normalisation
from splitters.errors import ConfigurationError, DataError, GraphError, ModuleFileError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import Module, extract_modules
from splitters.modules.score_kinds import HeadScores, LogitScores
from splitters.modules.scores import Scores
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import ComposedModel, compose
from splitters.reuse.fusion import FUSIONS, FusionExamples, fit_fusion
from splitters.reuse.model_file import load_model
from splitters.reuse.patched import PatchedModel, patch

NAMES = ("ant", "bee", "cat", "dog")


def relu(net: nn.Module, x: Tensor) -> Tensor:
    return x.relu()


def network(seed: int) -> nn.Module:
    """Return the same network every time: with a random one, a head may score all images the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return shaken(Between(relu), seed=seed)


def modules(
    scores: Scores | None = None, *, size: int = 8, normalisation: Normalisation = IMAGENET, seed: int = 0
) -> list[Module]:
    graph = ChannelGraph.trace(network(seed), images(1, 3, size, size))
    masks = KernelMasks(graph.layout, random_bits(graph, 4, keep=0.7, seed=seed))
    return extract_modules(graph, SplitResult(masks, scores or LogitScores()), NAMES, normalisation)


def heads() -> HeadScores:
    return HeadScores.initialised(4, 4, 10, generator=torch.Generator().manual_seed(0))


def image_set(n: int = 40, *, channels: int = 3, names: tuple[str, ...] = NAMES) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, channels, 8, 8), generator=generator, dtype=torch.uint8)
    grey = Normalisation((0.5,) * channels, (0.5,) * channels)
    return ImageSet(pixels, torch.arange(n) % len(names), names, IMAGENET if channels == 3 else grey)


def weak() -> nn.Module:
    return network(3)


@pytest.mark.parametrize("rule", sorted(FUSIONS))
@pytest.mark.parametrize("scores", [LogitScores(), heads()], ids=["logits", "heads"])
def test_a_patched_model_applies_the_rule_to_both_outputs(rule: str, scores: Scores) -> None:
    model, module, seen = weak(), modules(scores)[2], image_set()
    patched = patch(model, module, seen, rule=rule)
    batch = IMAGENET(seen.images)
    with torch.no_grad():
        logits, module_scores = model.eval()(batch), module(batch)
        examples = FusionExamples(logits, module_scores, seen.labels, 2, module.score.is_probability)
        expected = fit_fusion(rule, examples)(logits, module_scores)
        assert torch.allclose(patched(batch), expected, atol=1e-4)
    assert patched.target_class == "cat"
    assert patched.predict_names(seen.images[:5]) == [
        NAMES[index] for index in patched.predict(seen.images[:5]).tolist()
    ]
    assert patched.cost().flops > module.cost().flops


def test_patching_changes_neither_model() -> None:
    model, module = weak(), modules()[1]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    patch(model, module, image_set())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_images_are_adapted_to_the_module() -> None:
    other = Normalisation((0.4,) * 3, (0.2,) * 3)
    module, seen = modules(size=16, normalisation=other)[0], image_set()
    patched = patch(weak(), module, seen, rule="gate")
    flat = torch.tensor([[10, 200, 90]], dtype=torch.uint8).view(1, 3, 1, 1)
    adapted = patched.adapter(IMAGENET(flat.expand(-1, -1, 8, 8)))
    assert torch.allclose(adapted, other(flat.expand(-1, -1, 16, 16)), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": "fox"}, ConfigurationError, "there is no class 'fox' among 'ant', 'bee', 'cat', 'dog'"),
        ({"target": "bee"}, ConfigurationError, "the module recognises 'cat', not 'bee'"),
        ({"images": image_set(names=("ant", "bee", "dog"))}, ConfigurationError, "there is no class 'cat'"),
        ({"images": image_set(names=NAMES[:3])}, ConfigurationError, "knows 4 classes, but the images have 3"),
        ({"images": image_set(2)}, DataError, "of 2 images none is of class 2"),
        ({"images": image_set(channels=2)}, ConfigurationError, "takes images of 3 channels"),
        ({"rule": "magic"}, ConfigurationError, "unknown fusion rule 'magic'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"images": image_set(), **change}
    with pytest.raises(error, match=message):
        patch(weak(), modules()[2], **arguments)


@pytest.mark.parametrize("rule", sorted(FUSIONS))
def test_a_patched_model_survives_a_file(rule: str, tmp_path: Path) -> None:
    patched = patch(weak(), modules(heads())[1], image_set(), rule=rule)
    patched.save(tmp_path / "patched.safetensors")
    loaded = load_model(tmp_path / "patched.safetensors")
    assert isinstance(loaded, PatchedModel)
    batch = images(5, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(batch), patched(batch))
    assert (loaded.class_names, loaded.input_form, loaded.target_class) == (NAMES, patched.input_form, "bee")
    assert [file.name for file in tmp_path.iterdir()] == ["patched.safetensors"]


def test_a_composed_model_survives_a_file(tmp_path: Path) -> None:
    composed = compose([*modules()[1:], modules(size=16, seed=1)[0]])
    composed.save(tmp_path / "composed.safetensors")
    loaded = load_model(tmp_path / "composed.safetensors")
    assert isinstance(loaded, ComposedModel)
    batch = images(5, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(batch), composed(batch))
    assert loaded.class_names == composed.class_names


def test_load_model_loads_modules(tmp_path: Path) -> None:
    module = modules()[0]
    module.save(tmp_path / "module")
    loaded = load_model(tmp_path / "module")
    assert isinstance(loaded, Module)
    assert loaded.info == module.info


def test_loading_needs_no_code_of_either_base_model(tmp_path: Path) -> None:
    patch(weak(), modules()[1], image_set()).save(tmp_path / "patched")
    script = (
        "import sys, torch; from splitters.reuse.model_file import load_model; model = load_model(sys.argv[1]);"
        "print(model.predict_names(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))); assert 'small_nets' not in sys.modules"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "patched")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.count("'") == 4


def _unknown_operation() -> nn.Module:
    return shaken(Between(lambda net, x: torch.frac(x)), seed=3)


def test_a_weak_model_that_no_file_could_hold_is_refused_at_once() -> None:
    with pytest.raises(GraphError, match="no file could hold this network: the network calls 'frac'"):
        patch(_unknown_operation(), modules()[1], image_set())


def test_a_failed_save_leaves_an_existing_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("precious")
    patched = patch(network(seed=3), modules()[1], image_set())
    patched.weak = ChannelGraph.trace(_unknown_operation(), images(1, 3, 8, 8)).network
    with pytest.raises(ModuleFileError, match="calls 'frac'"):
        patched.save(path)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(format_version=9), "format version 9; this Splitbench reads up to 3"),
        (lambda header: header.update(kind="magic"), "the header is damaged (kind:"),
        (lambda header: header["class_names"].append("elk"), "does not return one score for each of its classes"),
        (lambda header: header["patch"].update(rule="magic"), "unknown fusion rule 'magic'"),
        (lambda header: header["patch"]["figures"].update(target=0), "which is not the patched class"),
        (lambda header: header["patch"]["figures"].update(target=7), "cannot be rebuilt"),
        (lambda header: header["patch"]["weak"].pop(), "lead from one input to one output"),
        (lambda header: header["modules"].clear(), "the header is damaged (modules:"),
        (lambda header: header["modules"].append(header["modules"][0]), "cannot be rebuilt"),
    ],
)  # fmt: skip
def test_a_tampered_model_is_refused_with_the_reason(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "patched"
    patch(weak(), modules()[1], image_set(), rule="platt").save(path)
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["splitbench"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    save_file(tensors, path, metadata={"splitbench": json.dumps(header)})
    with pytest.raises(ModuleFileError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_torn_model_is_called_truncated(tmp_path: Path) -> None:
    path = tmp_path / "composed"
    compose(modules()).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModuleFileError, match="truncated"):
        load_model(path)
