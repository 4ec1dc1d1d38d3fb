from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import splitters.reuse.patched as patched
from benchmarks.cells import DatasetSpec
from benchmarks.pipeline.preparation import images_for, prepare_images
from benchmarks.pipeline.workspace import Workspace
from benchmarks.single_model import image_origin as origins
from benchmarks.single_model import patching as single_patching
from benchmarks.single_model.image_origin import ImageOrigin
from benchmarks.single_model.weights_file import load_weights
from harness.config.single_cell import single_cell
from splitters.data import ImageSet, Normalisation
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import Module, extract_modules
from splitters.modules.score_kinds import LogitScores
from splitters.networks.masks import KernelMasks
from splitters.reuse.fusion import FUSIONS
from splitters.reuse.model_file import load_model

Call = Callable[..., Result]

USUAL = {
    "--weak": "weights",
    "--module": "modules/05-5.safetensors",
    "--target-class": "5",
    "--data": "digits",
    "--out": "patched",
}


def arguments(**changes: str) -> list[str]:
    changed = {**USUAL, **{f"--{key.replace('_', '-')}": value for key, value in changes.items()}}
    return [part for pair in changed.items() for part in pair]


@pytest.mark.parametrize("rule", sorted(FUSIONS))
def test_a_patch_says_what_it_changed(call: Call, at_work: Path, rule: str) -> None:
    result = call("patch", *arguments(fusion=rule), "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    for state in ("before", "after"):
        assert said[state]["images"] == sum(score["images"] for score in said[state]["classes"]) > 300
    assert load_model("patched").fusion.kind == rule
    evaluated = json.loads(call("evaluate", "patched", "--data", "digits", "--json").stdout)
    assert evaluated["accuracy"] == said["after"]["accuracy"]
    assert (
        json.loads(call("evaluate", "weights", "--data", "digits", "--json").stdout)["accuracy"]
        == (said["before"]["accuracy"])
    )


def test_a_network_of_ones_own_is_patched_from_its_plain_weights(
    call: Call, at_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_weights("weights")
    settings = dict(trained.header.model.settings)
    (tmp_path / "own_nets.py").write_text(
        "from benchmarks.cells import ModelSpec\nfrom benchmarks.models import build_model\n\n\n"
        "def net(n_classes, input_shape):\n"
        f"    spec = ModelSpec(name={trained.header.model.name!r}, settings={settings!r})\n"
        "    return build_model(spec, n_classes=n_classes, input_shape=input_shape, seed=3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    save_file({key: value.contiguous() for key, value in trained.model.state_dict().items()}, tmp_path / "plain")
    plain = {"weak": str(tmp_path / "plain"), "out": str(tmp_path / "own")}
    named = call("patch", *arguments(**plain, weak_model="python:own_nets:net"), "--json")
    assert named.exit_code == 0, named.stderr
    usual = json.loads(call("patch", *arguments(), "--json").stdout)
    assert json.loads(named.stdout)["before"] == usual["before"], "the same network"
    unnamed = call("patch", *arguments(**plain))
    assert unnamed.exit_code == 2
    assert "plain weights, which do not say what network they are of; name it with --weak-model" in unnamed.stderr
    state = {key: torch.full_like(value.contiguous(), float("nan")) for key, value in trained.model.state_dict().items()
             if value.is_floating_point()}  # fmt: skip
    save_file({**{k: v.contiguous() for k, v in trained.model.state_dict().items()}, **state}, tmp_path / "plain")
    broken = call("patch", *arguments(**plain, weak_model="python:own_nets:net"))
    assert broken.exit_code == 2
    assert "holds what is no finite number" in broken.stderr


def test_a_patch_is_calibrated_on_images_that_neither_network_has_seen(
    call: Call, at_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[ImageSet] = []

    def noting(weak: Any, module: Any, select: ImageSet, **keys: Any) -> Any:
        calibrated.append(select)
        return patched.patch(weak, module, select, **keys)

    monkeypatch.setattr(single_patching, "patch", noting)

    def images_of(seed: int, role: str) -> set[bytes]:
        cell = single_cell("rescnn", "digits", seed=seed, suite="small.yaml")
        images = getattr(prepare_images(cell, Workspace(cache=Path("cache"))).roles, role).images
        return {image.numpy().tobytes() for image in images}

    small = ("--suite", "small.yaml", "--model", "rescnn", "--data", "digits", "--seed", "4")
    assert call("split", *small, "--splitter", "importance", "--out", str(tmp_path / "other")).exit_code == 0
    for modules, seed in (("modules", 3), (str(tmp_path / "other"), 4)):
        said = call("patch", *arguments(module=f"{modules}/05-5.safetensors", out=str(tmp_path / "p")), "--json")
        assert said.exit_code == 0, said.stderr
        assert "warning" not in said.stderr
        used = {image.numpy().tobytes() for image in calibrated[-1].images}
        assert used
        assert used.isdisjoint(images_of(3, "train") | images_of(seed, "train"))
        assert json.loads(said.stdout)["select_images"] == len(calibrated[-1])
        assert json.loads(said.stdout)["unknown_training"] == []
    assert len(calibrated[1]) < len(calibrated[0])
    assert images_of(4, "train") & images_of(3, "select"), "the other seed's network has seen some of them"


def test_no_image_that_is_new_to_both_networks_is_an_error_and_an_unknown_training_a_warning(
    call: Call, at_work: Path, tmp_path: Path
) -> None:
    module = Module.load("modules/05-5.safetensors")
    (told,) = module.info.trained_on
    origin = ImageOrigin.model_validate(told)
    assert (origin.dataset.train_images, origin.seed) == (200, 3)

    def patch_with(*trained_on: dict[str, Any]) -> Result:
        module.info = module.info.model_copy(update={"trained_on": trained_on})
        module.save(tmp_path / "module.safetensors")
        return call("patch", *arguments(module=str(tmp_path / "module.safetensors"), out=str(tmp_path / "p")))

    everything = origin.model_dump(mode="json")
    everything["dataset"] |= {"train_images": None, "select_images": None}
    # With the weak network's images of another seed and these, which a made-up entry adds, nothing is new.
    others = [{**everything, "seed": seed, "protocol": "splitbench"} for seed in range(20)]
    refused = patch_with(*others)
    assert refused.exit_code == 2
    assert "0 are new to all networks, and none of these is of '0', '1'" in refused.stderr
    assert not (tmp_path / "p").exists()
    changed, elsewhere = {**told, "dataset_hash": "0" * 64}, {**told, "dataset": {"name": "folder:/nowhere"}}
    for unknown in ([], [{}], [{"somebody": "else's"}], [changed], [elsewhere], [told, {}]):
        warned = patch_with(*unknown)
        assert warned.exit_code == 0, warned.stderr
        assert "warning: the images that the module was made with are not known" in warned.stderr


def test_a_module_tells_of_the_images_of_its_network_and_of_those_that_its_splitter_saw(
    call: Call, at_work: Path, tmp_path: Path
) -> None:
    split = ("split", "--weights", "weights", "--data", "digits", "--suite", "small.yaml", "--splitter", "importance")
    assert call(*split, "--seed", "4", "--out", str(tmp_path / "m")).exit_code == 0
    told = Module.load(tmp_path / "m" / "05-5.safetensors").info.trained_on
    seen = [ImageOrigin.model_validate(entry) for entry in told]
    assert [(origin.seed, origin.part) for origin in seen] == [(3, "train"), (4, "split_train")]
    said = call("patch", *arguments(module=str(tmp_path / "m/05-5.safetensors"), out=str(tmp_path / "p")), "--json")
    usual = call("patch", *arguments(out=str(tmp_path / "usual")), "--json")
    assert json.loads(said.stdout)["select_images"] < json.loads(usual.stdout)["select_images"]


def as_folder(folder: Path) -> str:
    """Writes the workshop's digits as a folder of images, and returns the name of that data set."""
    images = prepare_images(single_cell("rescnn", "digits", seed=4), Workspace(cache=Path("cache"))).roles
    for role, image_set in (("train", images.select), ("test", images.select)):
        for number, (image, label) in enumerate(zip(image_set.images, image_set.labels.tolist(), strict=True)):
            path = folder / role / image_set.class_names[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return f"folder:{folder}"


def test_the_same_images_are_known_by_another_name(call: Call, at_work: Path, tmp_path: Path) -> None:
    data = as_folder(tmp_path / "folder")
    said = call("patch", *arguments(data=data, out=str(tmp_path / "p")), "--json")
    assert said.exit_code == 0, said.stderr
    assert "warning" not in said.stderr
    everything = images_for(DatasetSpec(name=data), 3, Workspace(cache=Path("cache"))).roles.select
    assert 0 < json.loads(said.stdout)["select_images"] < len(everything)


def test_what_a_file_says_of_its_images_leads_to_no_other_place_and_to_no_other_size(
    call: Call, at_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module.load("modules/05-5.safetensors")
    (told,) = module.info.trained_on
    read: list[DatasetSpec] = []

    def noting(spec: DatasetSpec, *rest: Any) -> Any:
        read.append(spec)
        return images_for(spec, *rest)

    monkeypatch.setattr(origins, "images_for", noting)
    secret = as_folder(tmp_path / "private")
    for dataset in (
        {"name": secret},
        {"name": f"parquet:{tmp_path}"},
        {**told["dataset"], "input_shape": [3, 3000, 3000]},
    ):
        module.info = module.info.model_copy(update={"trained_on": ({**told, "dataset": dataset},)})
        module.save(tmp_path / "module.safetensors")
        said = call("patch", *arguments(module=str(tmp_path / "module.safetensors"), out=str(tmp_path / "p")))
        assert said.exit_code == 0, said.stderr
        assert "warning: the images that the module was made with are not known" in said.stderr
    assert {(spec.name, spec.input_shape) for spec in read} == {("digits", (3, 32, 32))}


def test_people_get_a_table(call: Call, at_work: Path) -> None:
    result = call("patch", *arguments())
    assert result.exit_code == 0
    for part in ("before", "after", "change", "precision of '5'", "accuracy on other classes", "by temperature"):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_class": "6"}, "the module recognises '5', not '6'"),
        ({"target_class": "six"}, "there is no class 'six'"),
        ({"weak_model": "simcnn"}, "holds the weights of 'rescnn', not of 'simcnn'"),
        ({"weak": "modules/05-5.safetensors"}, "not a 'splitbench.weights'"),
        ({"module": "weights"}, "not a 'splitbench.module'"),
        ({"fusion": "plat"}, "unknown fusion rule 'plat'. Did you mean 'platt'?"),
        ({"data": "digit"}, "unknown data set 'digit'"),
    ],
)
def test_a_wrong_call_writes_nothing(call: Call, at_work: Path, changes: dict[str, str], message: str) -> None:
    result = call("patch", *arguments(**changes, out="nothing"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (at_work / "nothing").exists()


@pytest.fixture
def of_two_channels(tmp_path: Path) -> Path:
    """Writes a module of class 5 whose images have two channels."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    graph = ChannelGraph.trace(network, torch.zeros(1, 2, 32, 32))
    masks = KernelMasks(graph.layout, torch.ones(10, graph.layout.n_channels, dtype=torch.bool))
    result, two = SplitResult(masks, LogitScores()), Normalisation((0.5, 0.5), (0.5, 0.5))
    extract_modules(graph, result, tuple("0123456789"), two)[5].save(tmp_path / "two.safetensors")
    return tmp_path / "two.safetensors"


def test_images_that_a_module_cannot_take_are_refused_and_nothing_written(
    call: Call, at_work: Path, of_two_channels: Path
) -> None:
    result = call("patch", *arguments(module=str(of_two_channels), out="nothing"))
    assert result.exit_code == 2
    assert "the module of '5' takes images of 2 channels, but these images have 3" in result.stderr
    result = call("compose", "modules/02-2.safetensors", str(of_two_channels), "--out", "nothing")
    assert result.exit_code == 2
    assert "takes images of 2 channels" in result.stderr
    assert not (at_work / "nothing").exists()


@pytest.mark.parametrize(
    ("names", "empty", "message"),
    [
        (("cat", "dog"), "", "there are no images of '0', '1'"),
        (tuple("0123456789"), "5", "'5'"),
    ],
)
def test_data_that_cannot_calibrate_a_patch_is_refused_and_nothing_written(
    call: Call, at_work: Path, tmp_path: Path, names: tuple[str, ...], empty: str, message: str
) -> None:
    for part in ("train", "test"):
        for name in names:
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for index in range(0 if name == empty else 3):
                Image.new("RGB", (32, 32), (index, 9, 9)).save(folder / f"{index}.png")
    result = call("patch", *arguments(data="folder:data", out="nothing"), "--data-root", tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (at_work / "nothing").exists()
