"""Weights files of any origin."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import re
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.models.weights_reading import read_weights
from splitters.errors import ConfigurationError, ModuleFileError
from splitters.files.weights_hash import state_hash


def net(n_classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, n_classes))


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in net().state_dict().items()}


@pytest.mark.parametrize(
    "content",
    [
        net().state_dict(),
        {"state_dict": prefixed("model."), "epoch": 3},
        {"model_state_dict": prefixed("module."), "optimizer": {"state": {}}},
        {"model": prefixed("_orig_mod.module."), "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)},
        {"net": prefixed("module."), "acc": 91.2, "loss": np.ones(3), "seen": collections.defaultdict(int)},
        {"checkpoint": {"model": net().state_dict(), "epoch": 3}, "optimizer": {"state": {0: {"exp": torch.ones(1)}}}},
        {key: value.numpy() for key, value in net().state_dict().items()},
        {"n_averaged": torch.tensor(3), **prefixed("module.")},
        prefixed("module.backbone."),
        {"state_dict": {**prefixed("model.net."), "loss.weight": torch.ones(3), "n_seen": torch.tensor(2)}},
        {f"model.{key.replace('.', '.module.', 1)}": value for key, value in net().state_dict().items()},
        {key.replace(".", "._orig_mod.module."): value for key, value in net().state_dict().items()},
        {key: value for key, value in prefixed("net.").items() if "num_batches" not in key},
        {key: nn.Parameter(value) for key, value in net().state_dict().items() if value.is_floating_point()},
    ],
)
def test_a_state_is_found_wherever_checkpoints_keep_it(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    model = nn.Sequential(*(type(net())(*net())))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    read_weights(tmp_path / "weights.pth").load_into(model, "net")
    assert state_hash(model.state_dict()) == state_hash(net().state_dict())


ELSEWHERE = {
    b"cnumpy._core.multiarray\n": b"cnumpy.core.multiarray\n",  # NumPy 1
    b"cpathlib\nPosixPath\n": b"cpathlib._local\nPosixPath\n",  # Python 3.13
}


def rewritten_as_elsewhere(path: Path) -> None:
    """Give what a torch file names the names that other versions write."""

    def renamed(content: bytes) -> bytes:
        for ours, theirs in ELSEWHERE.items():
            content = content.replace(ours, theirs)
        return content

    if not zipfile.is_zipfile(path):
        path.write_bytes(renamed(path.read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, renamed(content) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("rewrite", [lambda path: None, rewritten_as_elsewhere])
@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.9), np.float32(0.9), np.int64(3), np.bool_(True), np.ones(3), np.str_("cat"),
        np.array(["cat", "dog"]), np.array([b"cat"]), np.datetime64("2020-01-01"), Path("data"),
        collections.deque([1, 2]), collections.deque([1, 2], maxlen=5),
        datetime.date(2020, 1, 1), datetime.timedelta(hours=1), types.SimpleNamespace(lr=0.1),
    ],
    ids=repr,
)  # fmt: skip
def test_plain_values_beside_the_state_are_read(
    tmp_path: Path, value: Any, rewrite: Callable[[Path], None], zipped: bool
) -> None:
    content = {"state_dict": net().state_dict(), "extra": value}
    torch.save(content, tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    rewrite(tmp_path / "weights.pth")
    assert state_hash(read_weights(tmp_path / "weights.pth").tensors) == state_hash(net().state_dict())


def test_a_path_of_windows_is_read(tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict(), "root": Path("data")}, tmp_path / "weights.pth",
               _use_new_zipfile_serialization=False)  # fmt: skip
    content = (tmp_path / "weights.pth").read_bytes().replace(b"cpathlib\nPosixPath\n", b"cpathlib\nWindowsPath\n")
    (tmp_path / "weights.pth").write_bytes(content)
    assert state_hash(read_weights(tmp_path / "weights.pth").tensors) == state_hash(net().state_dict())


def test_tensors_at_the_top_are_never_passed_over_for_those_of_one_entry(tmp_path: Path) -> None:
    torch.save({**net().state_dict(), "3._extra_state": {"scale": torch.ones(1)}}, tmp_path / "weights.pth")
    with pytest.raises(ModuleFileError, match=r"'3\._extra_state' is a dict, not a plain tensor"):
        read_weights(tmp_path / "weights.pth")


def test_a_files_content_counts_not_its_suffix(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "torch.safetensors")
    save_file(net().state_dict(), tmp_path / "safetensors.pth")
    for name in ("torch.safetensors", "safetensors.pth"):
        assert state_hash(read_weights(tmp_path / name).tensors) == state_hash(net().state_dict())


def test_a_stripped_prefix_is_said_and_one_that_the_network_has_is_kept(tmp_path: Path) -> None:
    save_file(prefixed("model."), tmp_path / "a.safetensors")
    stored = read_weights(tmp_path / "a.safetensors")
    assert stored.load_into(net(), "net") == (
        f"{tmp_path}/a.safetensors: stripped 'model.' from the names of all weights.",
    )
    wrapped = nn.ModuleDict({"model": net()})
    assert stored.load_into(wrapped, "wrapped") == ()


def test_what_is_left_out_is_said_and_of_two_networks_none_is_taken(tmp_path: Path) -> None:
    save_file({**prefixed("body."), "loss.weight": torch.ones(3)}, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors").load_into(net(), "net") == (
        f"{tmp_path}/a.safetensors: stripped 'body.' from the names of all weights, left out 'loss.weight'.",
    )
    save_file({**prefixed("student."), **prefixed("teacher.")}, tmp_path / "a.safetensors")
    with pytest.raises(ConfigurationError, match="8 missing, 18 unknown to it"):
        read_weights(tmp_path / "a.safetensors").load_into(net(), "net")


def test_one_state_has_one_hash_in_both_kinds_of_file(tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict()}, tmp_path / "a.pth")
    save_file(net().state_dict(), tmp_path / "a.safetensors")
    hashes = {state_hash(read_weights(tmp_path / name).tensors) for name in ("a.pth", "a.safetensors")}
    assert hashes == {state_hash(net().state_dict())}


def test_what_does_not_fit_stands_side_by_side(tmp_path: Path) -> None:
    state = net(5).state_dict()
    torch.save({**{key: value for key, value in state.items() if key != "0.bias"}, "stem.bias": state["0.bias"]},
               tmp_path / "a.pth")  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        read_weights(tmp_path / "a.pth").load_into(net(), "mine")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("the weights do not fit 'mine': 1 missing, 1 unknown to it, 2 of another shape.")
    assert [line.split(maxsplit=0)[0].split("  ")[0] for line in lines[2:]] == [
        "0.bias [2]", "3.weight [3, 8]", "3.bias [3]",
    ]  # fmt: skip
    assert [re.split(r"\s{2,}", line.strip())[1] for line in lines[2:]] == [
        "stem.bias [2]",
        "3.weight [5, 8]",
        "3.bias [5]",
    ]


def test_a_number_of_logits_is_told_from_weights_that_fit_otherwise(tmp_path: Path) -> None:
    torch.save(net(5).state_dict(), tmp_path / "a.pth")
    stored = read_weights(tmp_path / "a.pth")
    assert stored.differing_logits(net(3), 3) == 5
    assert stored.differing_logits(net(5), 5) is None
    assert stored.differing_logits(nn.Sequential(nn.Conv2d(3, 2, 3)), 2) is None


class Foreign(nn.Module):
    """A module that a file may name."""


class Running:
    """What runs a command when a pickle of it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: _write_text(path, "version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer.*lfs pull"),
        (lambda path: _write_text(path, "<!DOCTYPE html><html>not found"), "a web page, not weights"),
        (lambda path: _write_text(path, "just some text that is no file of weights"), "no safetensors file"),
        (lambda path: torch.save(Foreign(), path), r"holds an object of .*Foreign.*torch.save\(model.state_dict\(\)"),
        (lambda path: torch.save({"state_dict": net().state_dict(), "extra": collections.deque([Running()])}, path),
         r"holds an object of \w+.system, not just tensors"),
        (lambda path: torch.save([1], path), "holds a list, not a state dict"),
        (lambda path: torch.save({"epoch": 1, "optim": {}}, path), "no state dict in it.*it holds 'epoch', 'optim'"),
        (lambda path: torch.save({"net": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}, path),
         r"no state dict in it.*it holds 'net', 'ema' \(2 state dicts\). Save the one that is meant alone"),
        (lambda path: torch.save({"a": torch.zeros(1), "lr": 0.1}, path), "'lr' is a float, not a plain tensor"),
        (lambda path: torch.save({"a": torch.zeros(1, device="meta")}, path), r"'a' is a .*empty \(meta\) tensor"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)), "damaged or cut short"),
        (lambda path: None, "there is no such file"),
    ],
)  # fmt: skip
def test_what_is_no_weights_file_is_refused(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "w.pth")
    with pytest.raises(ModuleFileError, match=message):
        read_weights(tmp_path / "w.pth")


def test_a_whole_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"")
        archive.writestr("w/code/__torch__.py", "")
    with pytest.raises(ModuleFileError, match="holds a whole program"):
        read_weights(tmp_path / "w.pt")


def test_weights_that_are_not_floating_point_are_refused(tmp_path: Path) -> None:
    state = net().state_dict()
    torch.save({**state, "0.bias": state["0.bias"].char()}, tmp_path / "w.pth")
    with pytest.raises(ConfigurationError, match=r"0.bias is torch.int8, not floating point"):
        read_weights(tmp_path / "w.pth").load_into(net(), "net")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    torch.save({**net().state_dict(), "0.bias": torch.tensor([1.0, float("nan")])}, tmp_path / "w.pth")
    with pytest.raises(ConfigurationError, match=r"0.bias holds what is no finite number"):
        read_weights(tmp_path / "w.pth").load_into(net(), "net")
