from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from benchmarks.single_model.weights_file import load_weights
from splitters.errors import ConfigurationError
from splitters.files.safetensors_file import read_tensor_file, write_tensor_file

Call = Callable[..., Result]


def test_weights_say_what_network_they_belong_to(at_work: Path) -> None:
    header = load_weights(at_work / "weights").header
    assert (header.model.name, header.model.settings["width"]) == ("rescnn", 0.03)
    assert (header.dataset, header.seed, header.input_shape) == ("digits", 3, (3, 32, 32))
    assert header.class_names == tuple("0123456789")
    assert 0 < header.select_accuracy <= 1


def test_the_same_training_is_not_done_twice(call: Call, at_work: Path) -> None:
    arguments = ("--suite", "small.yaml", "--model", "rescnn", "--data", "digits", "--seed", 3)
    result = call("train", *arguments, "--out", "again", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    first, again = load_weights("weights"), load_weights("again")
    assert said["select_accuracy"] == first.header.select_accuracy
    pairs = zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "rescn"), "unknown model 'rescn'. Did you mean 'rescnn'?"),
        (("--model", "rescnn", "--set", "training.epoch=1"), "unknown key 'epoch'. Did you mean 'epochs'?"),
        (("--model", "rescnn", "--suite", "small"), "unknown suite 'small'"),
    ],
)
def test_a_wrong_call_writes_nothing(call: Call, at_work: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("train", *arguments, "--data", "digits", "--out", "nothing")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (at_work / "nothing").exists()


def test_weights_that_do_not_fit_their_network_are_refused(at_work: Path, tmp_path: Path) -> None:
    from benchmarks.models.weights_reading import WEIGHTS_FORMAT, WEIGHTS_FORMAT_VERSION
    from benchmarks.single_model.weights_file import WeightsHeader

    header, tensors = read_tensor_file(
        at_work / "weights", WeightsHeader, form=WEIGHTS_FORMAT, newest=WEIGHTS_FORMAT_VERSION
    )
    name = next(iter(tensors))
    tensors["extra"], tensors[name] = torch.ones(1), torch.ones(7)
    write_tensor_file(tmp_path / "wrong", header, tensors)
    message = r"do not fit 'rescnn': 1 unknown to it, 1 of another shape.\n.*\n +extra \[1\]\n  .* +" + re.escape(
        f"{name} [7]"
    )
    with pytest.raises(ConfigurationError, match=message):
        load_weights(tmp_path / "wrong")
