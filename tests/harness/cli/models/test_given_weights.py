"""Networks of one's own on the command line: ``--model M --weights FILE``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result

from benchmarks.cells import ModelSpec
from benchmarks.models.weights_reading import WEIGHTS_FORMAT
from benchmarks.single_model.weights_file import WeightsHeader, load_weights
from harness.cli.given_options import find_models_here
from splitters.errors import ConfigurationError
from splitters.files.safetensors_file import read_tensor_file, write_tensor_file
from splitters.modules.module import Module

Call = Callable[..., Result]

HALF = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")


@pytest.fixture
def own(at_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workshop's network as somebody's own: code in ``cli_nets.py``, and weights for images normalised by HALF."""
    trained = load_weights("weights")
    (tmp_path / "cli_nets.py").write_text(
        "from torch import nn\nfrom benchmarks.cells import ModelSpec\nfrom benchmarks.models import build_model\n\n\n"
        "def net(n_classes, input_shape):\n"
        f"    spec = ModelSpec(name='rescnn', settings={dict(trained.header.model.settings)!r})\n"
        "    return build_model(spec, n_classes=n_classes, input_shape=input_shape, seed=3)\n"
    )
    state = {f"module.{key}": value for key, value in trained.model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "own.pth")
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("cli_nets", None)


OWN = ("--model", "python:cli_nets:net", "--weights", "own.pth")


def accuracy(result: Result) -> float:
    assert result.exit_code == 0, result.stderr
    return float(json.loads(result.stdout)["accuracy"])


def test_a_checkpoint_is_evaluated_with_what_it_was_made_with(call: Call, own: Path, workshop: Path) -> None:
    as_trained = accuracy(call("evaluate", workshop / "weights", "--data", "digits", "--json"))
    result = call("evaluate", *OWN, "--data", "digits", "--normalisation", "imagenet", "--json")
    assert accuracy(result) == as_trained
    assert "stripped 'module.' from the names of all weights" in result.stderr
    assert "which images the model was trained on is not known" in result.stderr
    assert accuracy(call("evaluate", *OWN, "--data", "digits", *HALF, "--json")) != as_trained


def test_a_normalisation_that_is_assumed_and_the_shape_of_images_are_shown(call: Call, own: Path) -> None:
    result = call("evaluate", *OWN, "--data", "digits")
    assert "ImageNet's statistics are assumed" in result.stderr
    assert "test images of 3x32x32\n" in result.stdout
    split = ("split", *OWN, "--data", "digits", "--splitter", "importance", "--classes", "7", "--out", "modules")
    modules = call(*split, "--force")
    assert "ImageNet's statistics are assumed" in modules.stderr
    assert modules.stdout.endswith("for images of 3x32x32\n")


def test_a_checkpoint_is_split_and_its_modules_know_how_it_was_made(call: Call, own: Path) -> None:
    split = ("split", *OWN, "--data", "digits", "--splitter", "importance", "--classes", "7", "--out", "modules")
    refused = call(*split, *HALF)
    assert refused.exit_code == 2
    assert "twice chance" in refused.stderr
    result = call(*split, *HALF, "--force", "--json")
    assert result.exit_code == 0, result.stderr
    assert "which images it was trained on is not known" in result.stderr
    info = Module.load(own / "modules" / "07-7.safetensors").info
    assert (info.normalisation.mean, info.normalisation.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert info.base_model == "python:cli_nets:net"
    assert info.trained_on[0] == {}, "nobody knows which images the network has seen"
    assert info.trained_on[1]["part"] == "split_train"


def test_code_of_networks_is_found_beside_a_suite_before_the_current_folder(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "suites").mkdir()
    (own / "suites" / "mine.yaml").touch()
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    find_models_here("quick")
    assert sys.path == [str(own), "elsewhere"]
    find_models_here("suites/mine.yaml")
    assert sys.path == [str(own / "suites"), str(own), "elsewhere"]


@pytest.mark.parametrize("verb", ["train", "split"])
def test_a_network_in_the_current_folder_is_found_by_a_command_that_trains_it(
    call: Call, own: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry or ".").absolute() != own])
    split = ("--splitter", "full") if verb == "split" else ()
    result = call(verb, "--model", "python:cli_nets:nett", "--data", "digits", *split, "--out", "nothing")
    assert "unknown factory in cli_nets 'nett'" in result.stderr


def test_a_file_of_ours_is_taken_as_its_own_network_or_as_described(call: Call, own: Path, workshop: Path) -> None:
    ours = ("--weights", workshop / "weights", "--data", "digits", "--json")
    assert accuracy(call("evaluate", *ours)) == accuracy(call("evaluate", "--model", "rescnn", *ours))
    reordered = call("evaluate", *ours, "--class-names", "1,0,2,3,4,5,6,7,8,9")
    assert accuracy(reordered) != accuracy(call("evaluate", *ours))
    wrong = call("evaluate", "--model", "simcnn", *ours)
    assert (wrong.exit_code, "holds the weights of 'rescnn', not of 'simcnn'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "own.pth"), "plain weights, which do not say what network they are of; name it with --model"),
        ((*OWN, "--mean", "0.5"), "--mean and --std belong together"),
        ((*OWN, "--mean", "half", "--std", "1"), "--mean half: give one number per image channel"),
        ((*OWN, *HALF, "--normalisation", "none"), "say the same; give one of them"),
        ((*OWN, "--input-shape", "32"), "--input-shape 32: give channels, height and width, e.g. 3,32,32"),
        ((*OWN, "--input-shape", "2,32,32"), "the call: input_shape: channels must be 1 or 3"),
        (
            (*OWN, "--mean", "0.5", "--std", "0.5"),
            "has 1 number, but the images have 3 channels: give one per channel, or an input_shape with 1 channel",
        ),
        ((*OWN, "--transform-from", "torchvision"), "say whose network's, as timm:NAME or torchvision:NAME"),
        ((*OWN, "--transform-from", "torchvision:resnet81"), "unknown torchvision model 'resnet81'"),
        (("--model", "python:cli_nets:nett", "--weights", "own.pth"), "unknown factory in cli_nets 'nett'"),
        (("--model", "simcnn", "--weights", "own.pth", "--normalisation", "none"), "the weights do not fit 'simcnn'"),
    ],
)
def test_a_wrong_description_is_refused(call: Call, own: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("evaluate", *arguments, "--data", "digits")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_description_without_weights_is_refused(call: Call, own: Path, workshop: Path) -> None:
    result = call("evaluate", workshop / "weights", "--data", "digits", *HALF)
    assert result.exit_code == 2
    assert "--mean describes the weights of a trained network; name them with --weights" in result.stderr
    result = call("evaluate", "--model", "rescnn", "--data", "digits")
    assert (result.exit_code, "name a FILE, or a network and its weights" in result.stderr) == (2, True)


def test_a_transform_of_a_library_gives_shape_and_normalisation(call: Call, own: Path) -> None:
    result = call("inspect", *OWN[1:], "--transform-from", "torchvision:resnet18", "--json")
    assert result.exit_code == 2, "the network's last layer is for 32x32 images"
    assert "the weights do not fit" in result.stderr
    shape = json.loads(call("inspect", *OWN[1:], "--json").stdout)["input_shape"]
    assert shape == [3, 32, 32]


def test_a_weights_file_does_not_choose_what_code_runs(
    call: Call, own: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLITBENCH_CACHE", str(own / "cache"))
    header, tensors = read_tensor_file(workshop / "weights", WeightsHeader, form=WEIGHTS_FORMAT, newest=99)
    foreign = ModelSpec(name="python:subprocess:getoutput", settings={"cmd": "touch ran"})
    write_tensor_file(own / "foreign", header.model_copy(update={"model": foreign}), tensors)
    described = ("evaluate", "--weights", "foreign", *HALF, "--data", "digits")
    for command in (
        ("evaluate", "foreign", "--data", "digits"),
        ("card", "foreign"),
        ("inspect", "foreign"),
        described,
    ):
        result = call(*command)
        assert result.exit_code == 2
        assert "code that would run with your rights. If you trust it, name it" in result.stderr
    with pytest.raises(ConfigurationError, match=r"expected='python:subprocess:getoutput'"):
        load_weights(own / "foreign")
    assert not (own / "ran").exists()

    mine = header.model_copy(update={"model": ModelSpec(name="python:cli_nets:net")})
    write_tensor_file(own / "mine", mine, tensors)
    assert call("card", "mine").exit_code == 2
    named = call("evaluate", "--model", "python:cli_nets:net", "--weights", "mine", "--data", "digits")
    assert named.exit_code == 0, named.stderr
    assert call("card", "mine").exit_code == 0, "it was named on this machine"

    (own / "downloads").mkdir()
    for name in ("mine", "cli_nets.py"):
        shutil.copy(own / name, own / "downloads")
    monkeypatch.chdir(own / "downloads")
    assert call("card", "mine").exit_code == 2, "code of the same name in another folder"


def test_no_code_is_looked_for_in_the_current_folder_for_a_file_without_code(
    call: Call, own: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry or ".").absolute() != own])
    assert call("evaluate", workshop / "weights", "--data", "digits").exit_code == 0
    assert str(own) not in sys.path
