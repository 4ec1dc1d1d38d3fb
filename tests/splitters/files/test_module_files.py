"""Module files: round trips, refusals, and loading without anything else."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
import torchvision
from exactness import images, random_bits, shaken
from safetensors.torch import save_file
from small_nets import BETWEEN, Between, Case
from torch import Tensor, nn

from splitters.data import Normalisation
from splitters.errors import ModuleFileError
from splitters.files.atomic_write import write_atomically
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.module import Module, extract_modules
from splitters.modules.score_kinds import HeadScores, LinearScores, LogitScores
from splitters.modules.scores import Scores
from splitters.networks.cost import network_cost
from splitters.networks.masks import KernelMasks

_NAMES = ("zero", "one", "two", "three")


def _modules(model: nn.Module, batch: Tensor, scores: Scores | None = None, n_classes: int = 4) -> list[Module]:
    graph = ChannelGraph.trace(shaken(model), batch)
    masks = KernelMasks(graph.layout, random_bits(graph, n_classes, keep=0.5))
    names = tuple(f"class {number}" for number in range(n_classes)) if n_classes != 4 else _NAMES
    result = SplitResult(masks, scores or LogitScores())
    return extract_modules(graph, result, names, Normalisation((0.4,) * 3, (0.2,) * 3), base_model="net", licence="MIT")


def _heads(n_classes: int = 4) -> HeadScores:
    return HeadScores.initialised(n_classes, n_classes, 10, generator=torch.Generator().manual_seed(0))


def _assert_round_trip(module: Module, batch: Tensor, path: Path) -> Module:
    module.save(path)
    loaded = Module.load(path)
    with torch.no_grad():
        assert torch.equal(loaded(batch), module(batch))
    assert loaded.info == module.info
    assert loaded.cost() == module.cost()
    again = path.with_suffix(".again")
    loaded.save(again)
    with torch.no_grad():
        assert torch.equal(Module.load(again)(batch), module(batch))
    return loaded


_STORABLE = [case for case in BETWEEN if not any("unknown operation" in reason for reason in case.frozen)]


@pytest.mark.parametrize("case", _STORABLE, ids=lambda case: case.name)
def test_every_known_operation_survives_a_file(case: Case, tmp_path: Path) -> None:
    batch = images(2, 3, 8, 8)
    _assert_round_trip(_modules(case.make(), batch)[1], batch, tmp_path / "module")


@pytest.mark.parametrize(
    "scores", [LogitScores(), LinearScores.own_logits(4), _heads()], ids=["logit", "linear", "head"]
)
def test_logits_and_heads_survive_a_file(scores: Scores, tmp_path: Path) -> None:
    batch = images(3, 3, 8, 8)
    for number, module in enumerate(_modules(Between(lambda net, x: x.relu()), batch, scores)):
        loaded = _assert_round_trip(module, batch, tmp_path / f"{number}.safetensors")
        assert loaded.score.kind == module.score.kind
        assert (loaded.info.class_index, loaded.info.class_name) == (number, _NAMES[number])


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "convnext_tiny"])
def test_real_architectures_survive_a_file(name: str, tmp_path: Path) -> None:
    batch = images(1, 3, 64, 64)
    model = torchvision.models.get_model(name, weights=None, num_classes=4)
    _assert_round_trip(_modules(model, batch)[0], batch, tmp_path / "module")


def test_a_module_knows_what_it_keeps() -> None:
    batch = images(2, 3, 8, 8)
    module = _modules(Between(lambda net, x: x.relu()), batch)[2]
    assert {name: len(kept) for name, kept in module.info.kept.items()} == {
        "conv": module.network.conv.out_channels,
        "last": module.network.last.out_channels,
    }
    assert module.info.input_shape == (3, 8, 8)
    assert module.info.licence == "MIT"
    assert module.normalisation == Normalisation((0.4,) * 3, (0.2,) * 3)


def test_a_heads_cost_belongs_to_the_module() -> None:
    batch = images(2, 3, 8, 8)
    module = _modules(Between(lambda net, x: x.relu()), batch, _heads())[0]
    network = network_cost(module.network, (3, 8, 8))
    assert module.cost().parameters - network.parameters == 4 * 10 + 10 + 10 + 1
    assert module.cost().flops - network.flops == 2 * (4 * 10 + 10)


def test_an_unknown_operation_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (module, *_) = _modules(Between(lambda net, x: torch.frac(x)), images(2, 3, 8, 8))
    with pytest.raises(ModuleFileError, match="calls 'frac'") as error:
        module.save(tmp_path / "module")
    assert "operations that they know: abs, adaptive_avg_pool1d" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_loading_needs_no_code_of_the_base_model(tmp_path: Path) -> None:
    batch = images(2, 3, 8, 8)
    module = _modules(Between(lambda net, x: x.relu()), batch, _heads())[0]
    module.save(tmp_path / "module")
    torch.save(batch, tmp_path / "batch")
    script = (
        "import sys, torch; from splitters.modules.module import Module; folder = sys.argv[1];"
        "batch = torch.load(folder + '/batch', weights_only=True); torch.set_num_threads(1);"
        "print(Module.load(folder + '/module')(batch).tolist()); assert 'small_nets' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    with torch.no_grad():
        assert json.loads(run.stdout) == module(batch).tolist()


# Files that are refused


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("modules") / "module.safetensors"
    (module, *_) = _modules(Between(lambda net, x: x.amax(3, keepdim=True)), images(2, 3, 8, 8))
    module.save(path)
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(ModuleFileError) as error:
        Module.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "none").endswith("there is no such file.")
    assert "cannot be read" in _refusal(tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_called_truncated(saved: Path, tmp_path: Path, share: float) -> None:
    data = saved.read_bytes()
    (tmp_path / "torn").write_bytes(data[: int(len(data) * share)])
    refusal = _refusal(tmp_path / "torn")
    assert "the file is truncated" in refusal
    assert "foreign" not in refusal
    if share > 0.9:
        assert f"of {len(data):,} bytes" in refusal


def test_a_damaged_header_is_neither_truncated_nor_foreign(saved: Path, tmp_path: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[9] = 0
    (tmp_path / "bad").write_bytes(data)
    assert "the file's header is damaged" in _refusal(tmp_path / "bad")


def test_foreign_files_are_distinguished_from_damaged_ones(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, world, this is no tensor file")
    (tmp_path / "image").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    torch.save({"weight": torch.ones(2)}, tmp_path / "pickle")
    for name in ("text", "image", "pickle"):
        refusal = _refusal(tmp_path / name)
        assert "the file is foreign: it is no safetensors file" in refusal
        assert "truncated" not in refusal.partition(" (")[0]
    save_file({"weight": torch.ones(2)}, tmp_path / "other")
    assert "but not a Splitbench module" in _refusal(tmp_path / "other")


def test_a_git_lfs_pointer_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    (tmp_path / "three.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "the file is a Git LFS pointer, not a safetensors file; fetch the file with 'git lfs pull'" in _refusal(
        tmp_path / "three.safetensors"
    )


_Change = Callable[[dict, dict], object]


def _tamper(saved: Path, path: Path, change: _Change) -> str:
    """Write the module with its header and tensors changed, and return the refusal."""
    with safetensors.safe_open(saved, "pt") as file:
        header = json.loads(file.metadata()["splitbench"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = change(header, tensors)
    text = changed if isinstance(changed, str) else json.dumps(header)
    save_file(tensors, path, metadata={"splitbench": text})
    return _refusal(path)


_CONV, _AMAX, _FC = 1, 2, -2


def _node(index: int, **fields: object) -> _Change:
    return lambda header, tensors: header["nodes"][index].update(fields)


def _layer(**fields: object) -> _Change:
    return lambda header, tensors: header["nodes"][_CONV]["layer"].update(fields)


def _header(**fields: object) -> _Change:
    return lambda header, tensors: header.update(fields)


def _tensor(name: str, *shape: int) -> _Change:
    return lambda header, tensors: tensors.update({name: torch.ones(shape)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, tensors: "{", "the header is damaged"),
        (lambda header, tensors: "[]", "the header is damaged"),
        (lambda header, tensors: "[" * 100_000, "the header is damaged"),
        (_header(format="other"), "holds a 'other', not a 'splitbench.module'"),
        (_header(format_version=3), "written in format version 3; this Splitbench reads up to 2. Upgrade it."),
        (_header(format_version="1"), "format_version is '1'"),
        (_header(format_version=0), "format_version is 0"),
        (_header(extra=1), "the header is damaged (extra:"),
        (lambda header, tensors: header.pop("info"), "the header is damaged (info:"),
        (lambda header, tensors: header["info"].update(class_name=3), "info.class_name"),
        (lambda header, tensors: header["info"]["normalisation"].update(std=[0, 1, 1]), "one positive std per image"),
        (lambda header, tensors: header["info"]["normalisation"].update(mean=[0], std=[1]), "their normalisation 1"),
        (_node(_CONV, kind="code"), "nodes.1.kind"),
        (_node(_CONV, name="a.b"), "nodes.1.name"),
        (_node(_CONV, name="x = __import__('os')"), "nodes.1.name"),
        (_node(_CONV, name="self"), "called 'self'"),
        (_node(_CONV, name="images"), "same name"),
        (_node(_CONV, args=[{"node": "amax"}]), "names no earlier node"),
        (_node(_CONV, args=[{"node": ["amax"]}]), "cannot be rebuilt"),
        (_node(_CONV, args=[{"other": 1}]), "names no earlier node"),
        (_node(_CONV, layer=None), "a layer without a description"),
        (_node(_AMAX, operation="system"), "calls 'system', which is no known operation"),
        (_node(_AMAX, operation="torch.load"), "which is no known operation"),
        (_node(_AMAX, operation=None), "which is no known operation"),
        (_node(_AMAX, args=[{"node": "conv"}, "'); print('out'); ('"]), "cannot be rebuilt"),
        (_node(_AMAX, args=[{"node": "conv"}, {"slice": 3}]), "cannot be rebuilt"),
        (_node(_AMAX, kwargs={"class": 1}), "'class' is no name of an argument"),
        (_node(_AMAX, kwargs={"dim=3); print('out') #": 1}), "is no name of an argument"),
        (_node(-1, args=[]), "must be the value of one node"),
        (_node(-1, args=[3]), "must be the value of one node"),
        (lambda header, tensors: header["nodes"].clear(), "lead from one input to one output"),
        (lambda header, tensors: header["nodes"].pop(), "lead from one input to one output"),
        (lambda header, tensors: header["nodes"].insert(1, {"name": "more", "kind": "images"}), "from one input"),
        (_layer(kind="conv3d"), "nodes.1.layer.kind"),
        (_layer(stride=[0, 0]), "stride"),
        (_layer(padding="anywhere"), "Invalid padding string"),
        (_layer(groups=0), "nodes.1.layer.groups"),
        (_layer(groups=3), "cannot be rebuilt"),
        (lambda header, tensors: tensors.pop("network.conv.weight"), "the tensor 'conv.weight' is missing"),
        (_tensor("network.conv.weight", 2, 2, 2), "has weights of shape [2, 2, 2]; 4 axes are needed"),
        (_tensor("network.fc.weight", 2), "has weights of shape [2]; 2 axes are needed"),
        (_tensor("network.conv.weight", 4, 5, 3, 3), "to have 5 channels"),
        (_tensor("network.conv.bias", 77), "expected bias"),
        (_header(score={"kind": "pickle"}), "kind of scores 'pickle'. Known: head, linear, logit, scaled_logit"),
        (_header(score={"kind": "logit", "settings": {"class_index": 99}}), "out of bounds"),
        (_header(score={"kind": "logit", "settings": {"code": 1}}), "cannot be rebuilt"),
        (_header(score={"kind": "head"}), "cannot be rebuilt"),
    ],
)  # fmt: skip
def test_a_tampered_header_is_refused_with_the_reason(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: _Change, message: str
) -> None:
    assert message in _tamper(saved, tmp_path / "tampered", change)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["forward", "training", "class", "__class__", "_modules", "code", "torch", "print"])
def test_node_names_cannot_replace_attributes(saved: Path, tmp_path: Path, name: str) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        header = file.metadata()["splitbench"].replace('"conv"', f'"{name}"')
        tensors = {key.replace(".conv.", f".{name}."): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    header = header.replace(f'"kept":{{"{name}"', '"kept":{"conv"')
    save_file(tensors, tmp_path / "renamed", metadata={"splitbench": header})
    batch = images(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(Module.load(tmp_path / "renamed")(batch), Module.load(saved)(batch))


def test_files_are_written_under_names_as_long_as_allowed_and_errors_name_them(tmp_path: Path) -> None:
    longest = tmp_path / ("ä" * 127)
    write_atomically(longest, b"1")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]
    for path in (tmp_path, tmp_path / ("x" * 256)):
        with pytest.raises(OSError, match=re.escape(repr(str(path)))):
            write_atomically(path, b"2")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]


def test_a_pipe_is_written_to_and_a_link_stays_one(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    write_atomically(Path(f"/dev/fd/{writer}"), b"1")
    assert os.read(reader, 2) == b"1"
    os.close(reader)
    os.close(writer)
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", b"1")
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").read_bytes()) == (True, b"1")
