"""Networks of timm and of the Hugging Face hub, without the network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model, check_model, complete_given, load_given
from splitters.errors import ConfigurationError, DataError, UnknownNameError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_without_timm_its_models_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("timm:resnet10t", "hf:timm/resnet10t.c3_in1k"):
        with pytest.raises(ConfigurationError, match=rf"suite: model '{name}': .* pip install timm"):
            check_model(ModelSpec(name=name), where="suite")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A network of timm's whose weights are in the hub's cache, and that cache in ``tmp_path``."""
    timm = pytest.importorskip("timm")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("resnet10t", pretrained=False).eval()
    repository = tmp_path / "published-weights" / "huggingface" / "models--timm--resnet10t.c3_in1k"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    save_file(network.state_dict(), snapshot / "model.safetensors")
    config = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": network.pretrained_cfg}
    (snapshot / "config.json").write_text(json.dumps(config))
    return network


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:resnet10t.c3_in1k", "hf:timm/resnet10t.c3_in1k"])
def test_published_weights_are_found_offline_with_their_transform(
    tmp_path: Path, published: nn.Module, name: str
) -> None:
    spec = complete_given(ModelSpec(name=name, weights="DEFAULT"), cache=tmp_path)
    assert spec.input_shape == (3, 176, 176)
    assert spec.class_names[:2] == ("n01440764", "n01443537")
    assert complete_given(spec, cache=tmp_path) == spec
    given = load_given(spec, task_classes=("n01443537", "n01440764"), input_shape=(3, 64, 64), cache=tmp_path)
    assert given.source in ("timm:resnet10t.c3_in1k", "hf:timm/resnet10t.c3_in1k")
    assert torch.allclose(given.network(IMAGES), published(IMAGES)[:, [1, 0]], atol=1e-6)


def test_weights_that_are_not_here_are_not_fetched_unasked(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    spec = complete_given(ModelSpec(name="timm:resnet10t", weights="DEFAULT"), cache=tmp_path)
    with pytest.raises(DataError, match=r"timm:resnet10t.c3_in1k are not on this machine .*--download fetches them"):
        load_given(spec, task_classes=("n01443537", "n01440764"), input_shape=(3, 64, 64), cache=tmp_path)
    with pytest.raises(DataError, match="splitbench inspect hf:a/b --weights DEFAULT --download"):
        complete_given(ModelSpec(name="hf:a/b", weights="DEFAULT"), cache=tmp_path)


def test_a_network_of_timms_is_built_for_any_classes_and_channels() -> None:
    pytest.importorskip("timm")
    model = build_model(ModelSpec(name="timm:resnet10t"), n_classes=4, input_shape=(1, 64, 64), seed=0)
    assert model(IMAGES[:, :1]).shape == (2, 4)


def test_wrong_names_and_settings_are_refused() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UnknownNameError, match=r"unknown timm model 'resnet10x'. Did you mean 'resnet10t'"):
        check_model(ModelSpec(name="timm:resnet10x"))
    with pytest.raises(ConfigurationError, match="'pretrained' is set by the benchmark"):
        check_model(ModelSpec(name="timm:resnet10t", settings={"pretrained": True}))
    with pytest.raises(ConfigurationError, match="timm refuses the settings"):
        check_model(ModelSpec(name="timm:resnet10t", settings={"widht": 3}))
    with pytest.raises(ConfigurationError, match="is written as hf:OWNER/REPO"):
        check_model(ModelSpec(name="hf:resnet10t"))
    with pytest.raises(ConfigurationError, match="is not trained here: it is a network with its weights"):
        build_model(ModelSpec(name="hf:a/b"), n_classes=2, input_shape=(3, 64, 64), seed=0)
