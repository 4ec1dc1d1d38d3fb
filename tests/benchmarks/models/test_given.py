"""Given models: for the classes of a task, with what their weights say about themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.cells import ChannelStatistics, ModelSpec
from benchmarks.models import GivenModel, check_given, complete_given, load_given, normalisation_of
from benchmarks.models.logits import read_class_map, with_logits
from splitters.errors import ConfigurationError, DataError
from splitters.graph.channel_graph import ChannelGraph

SHAPE = (1, 8, 8)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))

SOURCE = """
import torch
from torch import nn

def net(n_classes):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, n_classes))

def five():
    return net(5)
"""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a network with five logits; its code is in the module ``given_nets``."""
    (tmp_path / "given_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "given_nets", raising=False)
    torch.manual_seed(0)
    namespace: dict[str, object] = {}
    exec(SOURCE, namespace)
    torch.save(namespace["net"](5).state_dict(), tmp_path / "five.pth")  # type: ignore[operator]
    return tmp_path / "five.pth"


def load(weights: Path, classes: tuple[str, ...], name: str = "python:given_nets:net", **fields: object) -> GivenModel:
    spec = complete_given(
        ModelSpec.model_validate({"name": name, "weights": str(weights), **fields}), cache=weights.parent
    )
    return load_given(spec, task_classes=classes, input_shape=SHAPE, cache=weights.parent)


def test_weights_and_class_maps_may_be_named_from_the_home_folder(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (weights.parent / "names.txt").write_text("e\nd\nc\nb\na\n")
    monkeypatch.setenv("HOME", str(weights.parent))
    spec = ModelSpec.model_validate(
        {"name": "python:given_nets:net", "weights": "~/five.pth", "class_map": "~/names.txt"}
    )
    assert complete_given(spec, cache=weights.parent).class_names == tuple("edcba")


@pytest.mark.parametrize("name", ["python:given_nets:net", "python:given_nets:five"])
def test_a_task_of_some_classes_gets_their_logits_in_its_own_order(weights: Path, name: str) -> None:
    whole = load(weights, tuple("abcde"), name=name).network
    some = load(weights, ("d", "a"), name=name, class_names=list("abcde"))
    assert some.class_names == ("d", "a")
    assert torch.allclose(some.network(IMAGES), whole(IMAGES)[:, [3, 0]], atol=1e-6)
    assert not some.network.training
    assert not any(parameter.requires_grad for parameter in some.network.parameters())
    assert isinstance(some.network[-1], nn.Linear)
    assert some.network[-1].out_features == 2, "the other rows are cut off, not carried along"


def test_logits_that_no_linear_layer_makes_are_picked(weights: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    expected = network(IMAGES)[:, [4, 1]]
    picked = with_logits(network, [4, 1], SHAPE).eval()
    assert torch.equal(picked(IMAGES), expected)
    assert ChannelGraph.trace(picked, IMAGES[:1]).layout.n_kernels == 5


@pytest.mark.parametrize(
    ("classes", "fields", "message"),
    [
        (tuple("abc"), {}, "has 5 logits, but the data has 3 classes .*; say which logit is which class"),
        (tuple("abcdefg"), {}, "has 5 logits, but the data has 7 classes .*'e' and 2 more.*leave out the classes"),
        (tuple("abx"), {"class_names": list("abcde")}, "has no logit for 'x'; its 5 logits are 'a', 'b'"),
        (tuple("ab"), {"class_names": list("abcd")}, "has 5 logits, but class_names has 4 names"),
    ],
)
def test_logits_that_are_not_those_of_the_classes_are_refused_by_name(
    weights: Path, classes: tuple[str, ...], fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(weights, classes, **fields)


def test_weights_that_changed_since_they_were_looked_at_are_refused(weights: Path) -> None:
    spec = complete_given(
        ModelSpec(name="python:given_nets:net", weights="five.pth"), cache=weights, folder=weights.parent
    )
    assert (spec.weights, len(spec.weights_hash)) == (str(weights), 64)
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "0.bias": state["0.bias"] + 1}, weights)
    with pytest.raises(ConfigurationError, match="has changed since"):
        load_given(spec, task_classes=tuple("abcde"), input_shape=SHAPE, cache=weights.parent)


def test_plain_weights_do_not_say_how_images_were_normalised(weights: Path) -> None:
    spec = complete_given(ModelSpec(name="python:given_nets:net", weights=str(weights)), cache=weights.parent)
    with pytest.raises(
        ConfigurationError, match=r"suite: model .*five.pth does not say how the images were normalised"
    ):
        check_given(spec, where="suite")


def test_a_normalisation_is_read_in_each_of_its_forms() -> None:
    def mean(normalisation: object, channels: int) -> tuple[float, ...]:
        spec = ModelSpec.model_validate({"name": "simcnn", "weights": "w", "normalisation": normalisation})
        return normalisation_of(spec, channels).mean

    assert mean("imagenet", 3) == (0.485, 0.456, 0.406)
    assert mean("imagenet", 1) == pytest.approx((0.458971,))
    assert mean("none", 1) == (0.0,)
    assert mean({"mean": [0.1], "std": [0.5]}, 1) == (0.1,)
    with pytest.raises(
        ConfigurationError,
        match="has 1 number, but the images have 3 channels: give one per channel, or an input_shape with 1 channel",
    ):
        mean({"mean": [0.1], "std": [0.5]}, 3)
    for wrong in ("imagnet", {"mean": [0.1]}, {"mean": [0.1], "std": [0.5, 0.5]}, 3):
        with pytest.raises(ValueError, match="a normalisation is imagenet, none"):
            mean(wrong, 1)


def test_what_describes_weights_needs_them() -> None:
    with pytest.raises(ValueError, match="'normalisation' describes given weights; name them with 'weights'"):
        ModelSpec(name="simcnn", normalisation="imagenet")
    with pytest.raises(ValueError, match="'a' appears twice"):
        ModelSpec(name="simcnn", weights="w", class_names=("a", "a"))


def test_published_weights_bring_their_classes_shape_and_normalisation_and_are_not_fetched_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    spec = complete_given(ModelSpec(name="torchvision:resnet18", weights="DEFAULT"), cache=tmp_path)
    assert (spec.weights, spec.input_shape, len(spec.class_names)) == ("IMAGENET1K_V1", (3, 224, 224), 1000)
    assert isinstance(spec.normalisation, ChannelStatistics)
    assert spec.class_names[:2] == ("tench", "goldfish")
    assert complete_given(spec, cache=tmp_path) == spec
    with pytest.raises(DataError, match=r"ResNet18_Weights.IMAGENET1K_V1 are not on this machine .*--download fetches"):
        load_given(spec, task_classes=("tench", "goldfish"), input_shape=(3, 64, 64), cache=tmp_path)


def test_published_weights_are_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    torch.manual_seed(3)
    original = torchvision.models.squeezenet1_1(weights=None).eval()
    torch.save(original.state_dict(), file)
    spec = complete_given(ModelSpec(name="torchvision:squeezenet1_1", weights="DEFAULT"), cache=tmp_path)
    given = load_given(spec, task_classes=("goldfish", "tench"), input_shape=(3, 64, 64), cache=tmp_path)
    assert given.source == "SqueezeNet1_1_Weights.IMAGENET1K_V1"
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(given.network(images), original(images)[:, [1, 0]], atol=1e-5)


def test_a_model_without_published_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'simcnn' has no published weights; name a file"):
        complete_given(ModelSpec(name="simcnn", weights="DEFAULT"), cache=tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '["no", "05", "cat"]'),
        ("a.json", '{"cat": 2, "no": 0, "05": 1}'),
        ("a.json", '{"2": "cat", "0": "no", "1": "05"}'),
        ("a.yaml", "- no\n- 05\n- cat\n"),
        ("a.yaml", "no: 0\n05: 1\ncat: 2\n"),
        ("a.txt", "no\n05\n\ncat\n"),
        ("a.txt", "\ufeffno\r\n05\r\ncat"),
        ("a.json", '\ufeff["no", "05", "cat"]'),
    ],
)
def test_a_class_map_is_read_in_each_of_its_forms(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_class_map(tmp_path / name) == ("no", "05", "cat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cat": 0, "dog": 2}', "must give every logit from 0 to 1 one name"),
        ('["cafe\u0301", "caf\u00e9"]', "'caf\u00e9' appears twice"),
        ('{"cat": 0, "dog": 0}', "must give every logit from 0 to 1 one name"),
        ("3", "is a list of names .*; this file holds int 3"),
        ("[]", "is a list of names .*; this file holds no name"),
        ('["cat", true]', "is a list of names .*; this file holds bool True"),
        ("[", "Expecting value"),
    ],
)
def test_a_class_map_that_leaves_logits_open_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        read_class_map(tmp_path / "map.json")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_class_map(tmp_path / "none.json")
